"""Answers other coordinators' questions about the jobs that are at home here (rules H2 and H3).

Nobody is believed: a lease counts when it is in the state that is final here, content leaves only
in boxes for the leaseholder's key, progress needs the token from inside such a box, and a result
speaks for itself by the receipt that the leaseholder signed. No byte from outside raises.
"""

import asyncio
import json
import traceback
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection

from coordinator import (
    accounts,
    completion,
    job_files,
    job_terms,
    leasing,
    sealing,
    sql,
    strict_json,
)
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.matching import Requirements
from coordinator.phases import REPORTABLE, Phase, Status
from coordinator.principals import Principal, Role
from coordinator.receipt_rows import UNNAMED_RUN, BadCompletion, Completion
from coordinator.relay_messages import (
    MAX_PIECES,
    MAX_QUESTION_BYTES,
    MAX_TEXT,
    PIECE_BYTES,
    Answer,
    Content,
    Describe,
    Described,
    Fetch,
    HandIn,
    Noted,
    Offer,
    Progress,
    Question,
    Refusal,
    Refused,
    Report,
    Taken,
    decode_question,
)
from coordinator.services.registry import SERVICES
from coordinator.streams import StreamGap, TextTooLong
from coordinator.tables import JobRow
from ledger import codec
from ledger.entries import LEASE_STATES, Lease
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job, get_miner
from ledger.types import MAX_UNITS

log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 15.0
"""Nobody waits longer for an answer; it is the rows that are behind then."""
NO_KEY: Final = 0
"""The key id of who hands a result in over another coordinator."""


class HandedIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a `HandIn` box holds, as JSON."""

    miner: str
    result: Any
    units: int | None
    receipt: dict[str, Any]
    receipt_opening: dict[str, Any]
    price_opening: dict[str, Any]


class Held(NamedTuple):
    """A job of this coordinator and the lease that is in force on it."""

    record: JobRecord
    lease: Lease


class _Refusing(Exception):
    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(detail)
        self.answer = Refused(refusal, detail[:200])


async def answer_peer(coordinator: Coordinator, peer: bytes, data: bytes) -> bytes:
    """Return the answer to a question of the node with this key; a refusal is an answer too."""
    if not await coordinator.peer_limits.may_ask(peer):
        return codec.encode(Refused(Refusal.BUSY))
    coordinator.peer_limits.running += 1
    answer: Answer
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await _answer(coordinator, peer, decode_question(data))
    except _Refusing as refusing:
        answer = refusing.answer
    except Rejected as rejected:
        answer = Refused(Refusal.MALFORMED, rejected.reason.name)
    except TimeoutError:
        answer = Refused(Refusal.BUSY)
    except Exception as error:  # noqa: BLE001 - no remote byte may end the process
        # Not the error's text: it may hold a prompt.
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("question failed", error=type(error).__name__, trace=trace)
        answer = Refused(Refusal.FAILED)
    finally:
        coordinator.peer_limits.running -= 1
    return codec.encode(answer)


async def _answer(coordinator: Coordinator, peer: bytes, question: Question) -> Answer:
    match question:
        case Describe():
            return await _describe(coordinator, question)
        case Fetch():
            return await _fetch(coordinator, peer, question)
        case Report():
            return await _note(coordinator, question)
        case HandIn():
            return await _take(coordinator, question)


async def _describe(coordinator: Coordinator, question: Describe) -> Described:
    def read(connection: Connection) -> list[JobRow]:
        jobs = sql.load_in(connection, JobRow, "job_id", set(question.jobs))
        return job_files.leave_out_users(connection, jobs)

    jobs = await coordinator.storage.read(read)
    live = [
        job
        for job in jobs
        if job.status in (Status.PENDING, Status.RUNNING) and not SERVICES[job.service].makes_files
    ]
    offers = tuple(offer for offer in map(_build_offer, live) if offer is not None)
    return Described(coordinator.public_key, offers)


def _build_offer(job: JobRow) -> Offer | None:
    requirements = msgspec.json.decode(job.requirements, type=Requirements)
    texts = (job.job_type, job.model, requirements.gpu_type or "")
    if max(map(len, texts)) > MAX_TEXT:
        return None
    return Offer(
        job=job.job_id,
        job_type=job.job_type,
        model=job.model,
        gpu_type=requirements.gpu_type,
        gpu_count=requirements.gpu_count,
        gpu_memory=requirements.gpu_memory,
        max_units=min(job.max_units, MAX_UNITS),
        max_price=job.max_price,
        estimated_seconds=job.estimated_seconds,
    )


async def _find_held(coordinator: Coordinator, job_id: bytes, number: int) -> Held:
    await coordinator.wait_followed()
    record = await coordinator.find_job(job_id)
    if record is None:
        raise _Refusing(Refusal.UNKNOWN_JOB)
    entry = get_job(coordinator.chain.get_view(), job_id)
    lease = None if entry is None else entry.lease
    if entry is None or lease is None or lease.number != number:
        raise _Refusing(Refusal.NOT_LEASED)
    return Held(record, lease)


def _require_live(coordinator: Coordinator, held: Held) -> None:
    entry = get_job(coordinator.chain.get_view(), held.record.job.job_id)
    assert entry is not None
    ends_at = leasing.get_lease_end(coordinator, held.lease.ends_at)
    if entry.status not in LEASE_STATES or coordinator.get_now() > ends_at:
        raise _Refusing(Refusal.NOT_LEASED)


async def _fetch(coordinator: Coordinator, peer: bytes, question: Fetch) -> Content:
    held = await _find_held(coordinator, question.job, question.number)
    _require_live(coordinator, held)
    content = held.record.load_content()
    miner = get_miner(coordinator.chain.get_view(), held.lease.miner)
    if content is None or miner is None:
        raise _Refusing(Refusal.CONTENT_GONE)
    token = job_terms.derive_report_token(coordinator.seed, question.job, question.number)
    text = await asyncio.to_thread(_write_content, content, token)
    pieces = -(-len(text) // PIECE_BYTES)
    if pieces > MAX_PIECES or question.piece >= pieces:
        raise _Refusing(Refusal.CONTENT_GONE, f"there are {pieces} pieces")
    piece = text[question.piece * PIECE_BYTES :][:PIECE_BYTES]
    if not await coordinator.peer_limits.may_fetch(peer, len(piece)):
        raise _Refusing(Refusal.BUSY)
    opening = job_terms.get_terms(held.record.job)
    try:
        box = await asyncio.to_thread(sealing.seal, piece, miner.encryption_key)
        terms_box = job_terms.seal_terms(opening, miner.encryption_key)
    except Rejected as rejected:
        raise _Refusing(Refusal.CONTENT_GONE, rejected.detail) from None
    return Content(pieces, box, terms_box)


def _write_content(content: dict[str, Any], token: bytes) -> bytes:
    members = {"content": content, "report_token": token.hex()}
    return json.dumps(members, ensure_ascii=False).encode()


async def _note(coordinator: Coordinator, question: Report) -> Noted:
    held = await _find_held(coordinator, question.job, question.number)
    _require_live(coordinator, held)
    box = await _unseal(coordinator, question.box)
    inside = codec.decode(box, Progress, MAX_QUESTION_BYTES)
    token = job_terms.derive_report_token(coordinator.seed, question.job, question.number)
    if inside.token != token:
        raise _Refusing(Refusal.TOKEN_WRONG)
    if inside.phase is not None and inside.phase not in {phase.value for phase in REPORTABLE}:
        raise _Refusing(Refusal.MALFORMED, "a phase that no miner reports")
    phase = None if inside.phase is None else Phase(inside.phase)
    job = await leasing.store_progress(coordinator, question.job, inside.progress, phase)
    length = _take_text(coordinator, question, inside)
    return Noted(job.cancel_requested_ms is not None, length)


def _take_text(coordinator: Coordinator, question: Report, inside: Progress) -> int:
    """Take a piece of the job's text and return how much of it is here."""
    try:
        return coordinator.streams.append(question.job, question.number, inside.offset, inside.text)
    except StreamGap as gap:
        return gap.length
    except TextTooLong:
        return coordinator.streams.get_length(question.job, question.number)


async def _take(coordinator: Coordinator, question: HandIn) -> Taken:
    held = await _find_held(coordinator, question.job, question.number)
    box = await _unseal(coordinator, question.box)
    try:
        # In a thread: a result may be long.
        members = await asyncio.to_thread(strict_json.parse, box, strict_json.WRAPPING)
        handed = msgspec.convert(members, HandedIn)
    except ValueError as error:
        raise _Refusing(Refusal.RESULT_REFUSED, f"not a result: {error}") from None
    if handed.miner != held.lease.miner:
        raise _Refusing(Refusal.RESULT_REFUSED, "/miner: does not hold the lease")
    if not isinstance(handed.result, str | dict):
        raise _Refusing(Refusal.RESULT_REFUSED, "/result: neither a text nor an object")
    given = Completion(
        result=handed.result,
        units=handed.units,
        started_ms=None,
        completed_ms=None,
        ran=UNNAMED_RUN,
        receipt=handed.receipt,
        receipt_opening=handed.receipt_opening,
        price_opening=handed.price_opening,
    )
    if held.record.receipt is None:
        _require_live(coordinator, held)
    principal = await _find_principal(coordinator, held.lease.payee)
    try:
        receipt = await completion.take_result(
            coordinator, principal, held.record, held.lease.miner, given
        )
    except BadCompletion as error:
        raise _Refusing(Refusal.RESULT_REFUSED, str(error)) from None
    except Rejected as rejected:
        raise _Refusing(_name_refusal(rejected), str(rejected)) from None
    return Taken(receipt.attestations.encode())


def _name_refusal(rejected: Rejected) -> Refusal:
    if rejected.reason is Rejection.JOB_TERMINAL:
        return Refusal.OTHER_RESULT
    is_bad = rejected.reason < Rejection.INSUFFICIENT_BALANCE
    return Refusal.RESULT_REFUSED if is_bad else Refusal.NOT_LEASED


async def _find_principal(coordinator: Coordinator, address: bytes) -> Principal:
    """Return a leaseholder as an account of this coordinator: its receipt will be the account's."""

    def write(connection: Connection, now: int) -> int:
        row = accounts.find_or_add_account(connection, address, now)
        assert row.account_id is not None
        return row.account_id

    account = await coordinator.storage.write(partial(write, now=coordinator.get_now()))
    return Principal(NO_KEY, Role.MINER, account, address, False)


async def _unseal(coordinator: Coordinator, box: bytes) -> bytes:
    return await asyncio.to_thread(sealing.unseal, box, sealing.derive_box_key(coordinator.seed))
