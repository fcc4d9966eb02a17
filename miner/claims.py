"""Decides which job is claimed, at which price, and whether a claim that was sent is ours.

The price is committed to before the terms are seen, so it is the announced one, and a job that
offers less is left to others; where an offer of ours was accepted for the job it is the offer's.
What the terms are held against is the chain's own record of the job, not what the coordinator says
of it.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import structlog

from aitbc.errors import AITBCError, APIError, InvalidAnswerError, NotFoundError
from aitbc.models import ClaimedJob, Job, Model
from aitbc.wallet import SignedTransaction
from ledger import crypto
from ledger.faults import Reason
from ledger.rejection import Rejected
from ledger.terms import commit_price_terms
from ledger.transactions import JobClaim
from miner.clock import LeaseClock, read_wall_clock
from miner.delivery import Channel
from miner.engines.interface import is_held
from miner.kinds import KINDS
from miner.settlement import open_price
from miner.terms import (
    ContentUnreadableError,
    TermsRefusedError,
    check_terms,
    open_content,
    open_terms,
)
from miner.work import LeaseRecord, Stage, Work, fail

RETRY_SECONDS: Final = 0.5
BELIEVED_REFUSALS: Final = 3
GPU_REQUIREMENTS: Final = ("gpu_type", "gpu_count", "gpu_memory")
UNSEALED: Final = (
    "the node keeps this account's key as well and signs for it: give the miner an account of its "
    "own (aitbc api-keys new --role miner --address ADDRESS)"
)
HOME_UNREACHABLE: Final = "COORDINATOR_UNREACHABLE"
"""The coordinator that holds the job does not answer our node, which says so with a 503."""

log = structlog.get_logger(__name__)


class ChainJob(NamedTuple):
    """What the chain holds of a job. Escrow in base units."""

    client: bytes
    escrow: int
    job_commit: bytes
    accepted_price: int | None = None
    """Base units per unit, of the accepted offer; None without one."""
    accepted_miner: str | None = None


def plan_claim(job: Job, prices: Mapping[str, int], models: Mapping[str, str]) -> Work | None:
    """Return the claim to make of an offered job, or None where it is not for us.

    `prices` in base units per unit of each service; `models` the one held for each. Raises
    `InvalidAnswerError`.
    """
    try:
        service = job["service"]
        accepted = job.get("accepted_offer")
        price = prices.get(service) if accepted is None else int(accepted["price_base"])
        if price is None or service not in KINDS:
            return None
        if not is_held(job.model, models.get(service)):
            return None
        if not 0 < price <= int(job["max_price_base"]):
            return None
        job_id = bytes.fromhex(job.job_id.removeprefix("job_"))
        if len(job_id) != 32:
            raise ValueError("a job's id has 32 bytes")
        return Work(
            job=job_id,
            stage=Stage.CLAIMING,
            service=service,
            billing=int(job["billing"]),
            price=price,
            is_price_public=accepted is not None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidAnswerError(f"not an available job: {error}") from None


class Claim:
    """One claim, from before it is sent until its fate is known."""

    def __init__(self, channel: Channel, work: Work) -> None:
        assert work.stage is Stage.CLAIMING
        self._channel = channel
        self._work = work

    async def take(self) -> Work | None:
        """Return the work as leased or to be given back, recorded; None where it is not ours."""
        refusals = 0
        while True:
            try:
                if not await self._is_as_agreed():
                    await self._channel.records.remove(self._work.job)
                    return None
                leased = await self._accept(await self._send())
                await self._channel.records.save(leased)
                return leased
            except AITBCError as error:
                log.info("claim not granted", job=self._work.job_id, error=str(error))
                if isinstance(error, APIError) and _is_refusal(error):
                    refusals += 1
                    if refusals >= BELIEVED_REFUSALS or not await self._is_on_its_way():
                        await self._channel.records.remove(self._work.job)
                        return None
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_as_agreed(self) -> bool:
        """Tell whether the chain knows of the accepted price that we were told of.

        Without an acceptance a claim at a public price would be taken as well, whatever the price.
        """
        if not self._work.is_price_public:
            return True
        answer = await self._channel.client.explorer.get_job(self._work.job_id)
        known = read_chain_job(answer)
        ours = self._channel.identity.miner_id, self._work.price
        return (known.accepted_miner, known.accepted_price) == ours

    async def _send(self) -> ClaimedJob:
        wallet, miner_id = self._channel.identity.wallet, self._channel.identity.miner_id
        price = open_price(wallet, self._work)
        payload = JobClaim(self._work.job, miner_id, commit_price_terms(price))

        async def deliver(signed: SignedTransaction) -> ClaimedJob:
            if signed != self._work.claim:
                self._work = msgspec.structs.replace(self._work, claim=signed)
                await self._channel.records.save(self._work)
            return await self._channel.client.miners.claim(
                self._work.job_id, miner_id, transaction=signed.raw.hex()
            )

        return await self._channel.sender.send(payload, deliver, self._work.claim)

    async def _is_on_its_way(self) -> bool:
        """Tell whether the claim that was refused just now is taken all the same.

        An answer that was lost is followed by "already claimed": perhaps by ourselves.
        """
        if self._work.claim is None:
            return False
        transaction_id = f"tx_{self._work.claim.id.hex()}"
        try:
            status = await self._channel.client.chain.get_transaction(transaction_id)
        except NotFoundError:
            return False
        except AITBCError:
            return True
        return status.status != "final" or not status.code

    async def _accept(self, claimed: ClaimedJob) -> Work:
        lease = claimed.lease
        if lease.miner_id != self._channel.identity.miner_id:
            raise InvalidAnswerError("the lease is another miner's")
        work = msgspec.structs.replace(
            self._work,
            stage=Stage.LEASED,
            lease=LeaseRecord(
                number=lease.number,
                claimed_at=lease.claimed_at_ms,
                ends_at=lease.ends_at_ms,
                heartbeat_seconds=max(0.1, lease.heartbeat_seconds),
                received_at=read_wall_clock(),
                head=lease.head_ms or 0,
            ),
            content=claimed.content,
            needs_gpu=any(claimed.requirements.get(name) for name in GPU_REQUIREMENTS),
        )
        try:
            work = self._open(work, claimed)
        except ContentUnreadableError as error:
            return fail(work, Reason.CONTENT_UNAVAILABLE, str(error))
        if work.content is None:
            return fail(work, Reason.CONTENT_UNAVAILABLE, "the lease came without its content")
        if claimed.terms_sealed is None:
            # Terms come open to an account whose key the node keeps and signs with.
            log.error("terms unsealed", job=work.job_id, error=UNSEALED)
            return fail(work, Reason.CONTENT_UNAVAILABLE, UNSEALED)
        chain_job = read_chain_job(await self._channel.client.explorer.get_job(work.job_id))
        try:
            return self._check(work, claimed.terms_sealed, chain_job)
        except TermsRefusedError as error:
            log.warning("terms refused", job=work.job_id, error=str(error))
            return fail(work, Reason.TERMS_NOT_COVERED, str(error))

    def _open(self, work: Work, claimed: ClaimedJob) -> Work:
        """Return the work with what came sealed, which another coordinator's job does."""
        if claimed.content_sealed is None:
            return work
        assert work.lease is not None
        key = self._channel.identity.wallet.derive_encryption_key()
        content, token = open_content(claimed.content_sealed, key)
        lease = msgspec.structs.replace(work.lease, report_token=token)
        return msgspec.structs.replace(work, content=content, lease=lease)

    def _check(self, work: Work, sealed: str, chain_job: ChainJob) -> Work:
        assert work.lease is not None and work.content is not None
        key = self._channel.identity.wallet.derive_encryption_key()
        opened = open_terms(sealed, key)
        check_terms(
            opened,
            work.content,
            job=work.job,
            client=chain_job.client,
            job_commit=chain_job.job_commit,
            escrow=chain_job.escrow,
            price=work.price,
            now=LeaseClock(work.lease).read(),
        )
        return msgspec.structs.replace(work, terms=opened, job_commit=chain_job.job_commit)


def _is_refusal(error: APIError) -> bool:
    """Tell whether an answer says that this claim is not taken; a 5xx mostly asks for patience."""
    return 400 <= error.status < 500 or error.code == HOME_UNREACHABLE


def read_chain_job(answer: Model) -> ChainJob:
    """Return what the explorer says of a job. Raises `InvalidAnswerError`."""
    try:
        accepted = answer.get("acceptance") or {}
        return ChainJob(
            client=crypto.parse_address(answer["client"]),
            escrow=int(answer["escrow_base"]),
            job_commit=bytes.fromhex(answer["job_commit"]),
            accepted_price=int(accepted["price_base"]) if accepted else None,
            accepted_miner=accepted["miner_id"] if accepted else None,
        )
    except (KeyError, TypeError, ValueError, Rejected) as error:
        raise InvalidAnswerError(f"not a job of the explorer: {error!r}") from None
