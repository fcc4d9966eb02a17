"""What another coordinator's job is about: fetched in boxes, opened, held against the chain.

The boxes are for the leaseholder's key, so it matters to nobody whose hands they pass through.
"""

import asyncio
import base64
from typing import Any, Final, NamedTuple

from nacl.public import PrivateKey

from coordinator import leasing, registration, relay, sealing, strict_json
from coordinator.claiming import SealedContent
from coordinator.coordinator import Coordinator
from coordinator.ports import Unreachable
from coordinator.relay import HomeRefused
from coordinator.relay_messages import Content, Fetch, Refusal
from ledger import terms
from ledger.entries import LEASE_STATES, Job, Lease
from ledger.faults import Reason
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job
from ledger.terms import Terms

RETRY_SECONDS: Final = 0.2
PATIENCE_MS: Final = 30_000
"""How long after a claim its content may be late; a quarter of a shorter lease."""
PASSING: Final = frozenset({Refusal.BUSY, Refusal.NOT_LEASED, Refusal.FAILED})
"""Refusals that the next question may not get: the other's final state may be a block behind."""


class ContentPending(Exception):
    """The lease stands; its content has not come yet: ask again."""


class ContentGone(Exception):
    """Nothing to run comes of the lease, which is to be given back with this reason."""

    def __init__(self, sentence: str, reason: Reason = Reason.CONTENT_UNAVAILABLE) -> None:
        super().__init__(sentence)
        self.reason = reason


class Opened(NamedTuple):
    """What a foreign job is about, opened for a miner whose key is kept here."""

    content: dict[str, Any]
    terms: Terms
    token: bytes


async def collect(
    coordinator: Coordinator, job_id: bytes, name: str, seconds: float
) -> SealedContent:
    """Return all boxes of a lease's content. Raises `ContentPending`, `ContentGone`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    boxes: list[bytes] = []
    while True:
        entry, lease = require_lease(coordinator, job_id, name)
        question = Fetch(job_id, lease.number, len(boxes))
        try:
            answer = await relay.ask_home(coordinator, entry.coordinator, question, Content)
        except (Unreachable, HomeRefused) as error:
            if isinstance(error, HomeRefused) and error.refusal not in PASSING:
                raise ContentGone(str(error)) from None
            late = coordinator.get_now() - lease.claimed_at
            if late > _compute_patience(coordinator, lease):
                raise ContentGone(str(error)) from None
            if loop.time() >= deadline:
                raise ContentPending from None
            await asyncio.sleep(RETRY_SECONDS)
            continue
        boxes.append(answer.box)
        if len(boxes) >= answer.pieces:
            return SealedContent(boxes, answer.terms)


def _compute_patience(coordinator: Coordinator, lease: Lease) -> int:
    length = leasing.get_lease_end(coordinator, lease.ends_at) - lease.claimed_at
    return min(PATIENCE_MS, length // 4)


def require_lease(coordinator: Coordinator, job_id: bytes, name: str) -> tuple[Job, Lease]:
    """Return the chain's job and the lease that a miner holds on it. Raises `Rejected`."""
    entry = get_job(coordinator.chain.get_view(), job_id)
    lease = None if entry is None else entry.lease
    if entry is None or lease is None or lease.miner != name or entry.status not in LEASE_STATES:
        raise Rejected(Rejection.JOB_NOT_LEASED, "the lease has ended already")
    return entry, lease


async def open_content(coordinator: Coordinator, address: bytes, sealed: SealedContent) -> Opened:
    """Open a custodial miner's boxes. Raises `ContentGone`."""
    seed = await coordinator.wallets.open_seed(address)
    key = PrivateKey(registration.derive_encryption_secret(seed))
    try:
        return await asyncio.to_thread(_open_boxes, sealed, key)
    except ValueError as error:
        raise ContentGone(str(error)) from None


def _open_boxes(sealed: SealedContent, key: PrivateKey) -> Opened:
    try:
        text = b"".join(sealing.unseal(box, key) for box in sealed.boxes)
        opening = sealing.unseal(base64.b64decode(sealed.terms, validate=True), key)
    except Rejected as rejected:
        raise ValueError(rejected.detail) from None
    members = strict_json.parse(text, strict_json.WRAPPING)
    try:
        content, token = members["content"], bytes.fromhex(members["report_token"])
        for name, kind in (("model", str), ("input", dict), ("params", dict)):
            if not isinstance(content[name], kind):
                raise ValueError(f"not a content: {name}")
        return Opened(content, terms.read_opening(strict_json.parse(opening), Terms), token)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a content: {type(error).__name__}") from None


def check_opened(entry: Job, job_id: bytes, opened: Opened, now: int) -> None:
    """Hold what was opened against the chain's own record, at a header time. Raises
    `ContentGone`.
    """
    uncovered = terms.find_uncovered_terms(opened.terms, entry.job_commit, entry.escrow)
    if uncovered is not None:
        raise ContentGone(uncovered, Reason.TERMS_NOT_COVERED)
    content = opened.content
    checks = (
        (opened.terms.job == job_id, "the terms are another job's"),
        (opened.terms.client == entry.client, "the terms are another client's"),
        (content.get("service") == entry.service, "the content is for another service"),
        (
            opened.terms.input_hash == terms.compute_content_hash(content),
            "the content is not the one that the terms name",
        ),
        (
            opened.terms.model == terms.compute_model_hash(content["model"]),
            "the model is not the one that the terms name",
        ),
        (opened.terms.max_units > 0, "the terms pay for no unit"),
        (opened.terms.deadline > now, "the terms' deadline has passed"),
    )
    for holds, sentence in checks:
        if not holds:
            raise ContentGone(sentence, Reason.TERMS_NOT_COVERED)
