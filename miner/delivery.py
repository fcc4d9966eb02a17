"""Decides how a finished job is handed in: proof, settlement, result, until the chain has it.

Runs beside the next job. Whatever fails on the way is tried again from the spooled record, with the
same bytes wherever they may have been taken, until the settlement is final or can never be.
"""

import asyncio
import itertools
import random
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import structlog

from aitbc.client import AsyncAITBCClient
from aitbc.errors import AITBCError, APIError, NotFoundError
from aitbc.wallet import SignedTransaction
from ledger.faults import Reason
from ledger.transactions import JobFail, Payload
from miner.clock import LeaseClock
from miner.inputs import Inputs
from miner.records import Records
from miner.sender import TransactionSender
from miner.settlement import Identity, build_report, build_settle, build_statement
from miner.wire import Wire
from miner.work import Stage, Work, fail
from zk.process import ProverBusyError, ProverCrashedError, ProverProcess
from zk.prover import UnsatisfiedStatement

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 15.0
POLL_SECONDS: Final = 0.25
BELIEVED_REFUSALS: Final = 4
"""One node may be a block behind, or not be the one that knows the job: it is asked again."""
PASSING_STATUSES: Final = frozenset({401, 403, 404, 408, 421, 425, 429})
"""A key taken away for a moment, a limit, another node: none of these says no to the work."""
HOME_UNREACHABLE: Final = "COORDINATOR_UNREACHABLE"
GIVE_UP_MS: Final = 30_000
"""What is left of a lease when a result that its coordinator cannot be given is given up, a quarter
of a shorter lease: a report costs no bond, a lapse does."""
TOO_LATE_MS: Final = 300_000
"""Nothing settles once a job's deadline is this far behind, clocks being wrong by less."""

log = structlog.get_logger(__name__)


class Channel(NamedTuple):
    """What claiming, running and handing in share."""

    client: AsyncAITBCClient
    sender: TransactionSender
    prover: ProverProcess
    records: Records
    identity: Identity
    models: Mapping[str, str]
    """The model held for each service, as jobs name it."""
    wire: Wire
    inputs: Inputs


class Delivery:
    """Hands in one result, or one report of a failure.

    `resend_seconds`: how long a transaction may take to become final before all is sent again.
    """

    def __init__(self, channel: Channel, work: Work, resend_seconds: float) -> None:
        assert work.lease is not None
        self._channel = channel
        self._work = work
        self._resend_seconds = resend_seconds
        deadline = 0 if work.terms is None else work.terms.deadline
        self._latest = max(work.lease.ends_at, deadline) + TOO_LATE_MS
        self._clock = LeaseClock(work.lease)

    async def run(self) -> None:
        """Return once the work is over: settled, given back, or beyond both."""
        refusals = 0
        for attempt in itertools.count():
            try:
                if await self._is_over() or await self._advance():
                    break
                refusals = 0
            except AITBCError as error:
                refusals += isinstance(error, APIError) and _is_refusal(error)
                is_refused = refusals >= BELIEVED_REFUSALS
                if self._is_undeliverable(error, is_refused):
                    refusals = 0
                    log.warning("lease given back", job=self._work.job_id, error=str(error))
                    detail = "the job's coordinator takes no result"
                    await self._save(fail(self._work, Reason.CONTENT_UNAVAILABLE, detail))
                    continue
                if is_refused or self._clock.read() > self._latest:
                    log.error("work is lost", job=self._work.job_id, error=str(error))
                    break
                log.warning("handing in again", job=self._work.job_id, error=str(error))
            except (ProverBusyError, ProverCrashedError) as error:
                log.warning("proving again", job=self._work.job_id, error=type(error).__name__)
            except UnsatisfiedStatement as error:
                log.error("cannot be proved", job=self._work.job_id, rules=error.rules)
                await self._save(fail(self._work, Reason.ENGINE_FAILED, str(error)))
            delay, patience = _compute_delay(attempt), self._compute_patience()
            await asyncio.sleep(delay if patience <= 0 else min(delay, patience))
        await self._channel.records.remove(self._work.job)

    async def _advance(self) -> bool:
        """Prove, send, and watch for a while; tell whether the work is over."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        if self._work.stage is Stage.FINISHED and not self._work.proof:
            public, witness = build_statement(self._channel.identity, self._work)
            proof = await self._channel.prover.prove(public, witness)
            await self._save(msgspec.structs.replace(self._work, proof=proof))
        proved = loop.time()
        await self._channel.sender.send(self._build_payload(), self._hand_in, self._work.ending)
        log.info(
            "handed in",
            job=self._work.job_id,
            proof_ms=round(1000 * (proved - begin)),
            sending_ms=round(1000 * (loop.time() - proved)),
        )
        end = loop.time() + self._resend_seconds
        while loop.time() < end:
            if await self._is_over():
                return True
            await asyncio.sleep(POLL_SECONDS)
        if await self._is_dead():
            log.warning("signing again", job=self._work.job_id)
            await self._save(msgspec.structs.replace(self._work, ending=None))
        return False

    async def _hand_in(self, signed: SignedTransaction) -> None:
        """Send the report with a transaction that is recorded first: it may be taken."""
        if signed != self._work.ending:
            await self._save(msgspec.structs.replace(self._work, ending=signed))
        client, identity, work = self._channel.client, self._channel.identity, self._work
        if work.failure is not None:
            await client.miners.fail(
                work.job_id,
                identity.miner_id,
                reason_code=work.failure.reason_code,
                detail=work.failure.detail,
                transaction=signed.raw.hex(),
            )
            return
        await client.miners.complete(work.job_id, build_report(identity, work, signed))

    def _is_undeliverable(self, error: AITBCError, is_refused: bool) -> bool:
        """Tell whether a result is to be given up while that costs no bond.

        A coordinator that takes no result must not have the lease lapse, which pays its client.
        """
        assert self._work.lease is not None
        if self._work.stage is not Stage.FINISHED or not isinstance(error, APIError):
            return False
        if self._clock.read() >= self._work.lease.ends_at:
            return False
        is_gone = error.code == HOME_UNREACHABLE and self._compute_patience() <= 0
        return is_gone or is_refused

    def _compute_patience(self) -> float:
        """Return the seconds until a result that nobody takes is to be given up."""
        assert self._work.lease is not None
        length = self._work.lease.ends_at - self._work.lease.claimed_at
        rest = self._work.lease.ends_at - self._clock.read()
        return (rest - min(GIVE_UP_MS, length // 4)) / 1000

    async def _is_over(self) -> bool:
        """Tell whether the transaction that ends the lease is final, applied or failed."""
        if self._work.ending is None:
            return False
        transaction_id = f"tx_{self._work.ending.id.hex()}"
        try:
            status = await self._channel.client.chain.get_transaction(transaction_id)
        except NotFoundError:
            return False
        if status.status != "final":
            return False
        if status.code:
            log.error("the chain refused", job=self._work.job_id, code=status.code)
        else:
            log.info("final", job=self._work.job_id, tx=transaction_id, height=status.height)
        return True

    async def _is_dead(self) -> bool:
        """Tell whether the transaction, though accepted once, can never be in a block."""
        signed = self._work.ending
        if signed is None:
            return False
        client, wallet = self._channel.client, self._channel.identity.wallet
        # In this order: what became final in between is found by the second question.
        account = await client.chain.get_account(wallet.text_address)
        height = (await client.chain.get_status()).height
        try:
            await client.chain.get_transaction(f"tx_{signed.id.hex()}")
        except NotFoundError:
            return account.nonce > signed.nonce or height > signed.valid_until
        return False

    def _build_payload(self) -> Payload:
        if self._work.failure is not None:
            return JobFail(self._work.job, self._work.failure.reason_code)
        return build_settle(self._channel.identity, self._work)

    async def _save(self, work: Work) -> None:
        self._work = work
        await self._channel.records.save(work)


def _is_refusal(error: APIError) -> bool:
    """Tell whether an answer says that the work itself is not wanted."""
    return 400 <= error.status < 500 and error.status not in PASSING_STATUSES


def _compute_delay(attempt: int) -> float:
    bound: float = min(LONGEST_DELAY, FIRST_DELAY * 1.5 ** min(attempt, 20))
    return bound * (0.5 + random.random() / 2)
