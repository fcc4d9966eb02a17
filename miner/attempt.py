"""Decides how one leased job is run: terms, model, engine, heartbeats, and when to stop.

A job ends in one of four ways: a result, a reason to give the lease back, a result cut short by the
client's cancellation (its units are what was made by then), or a lease that is not ours any more.
"""

import asyncio
import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import structlog

from aitbc.errors import AITBCError, APIError
from ledger.faults import Reason
from ledger.rejection import Rejection
from ledger.terms import ReceiptTerms, compute_content_hash
from miner.aftermath import Aftermath, measure_aftermath
from miner.clock import LeaseClock
from miner.delivery import Channel
from miner.engines.interface import (
    OUTPUT,
    Engine,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    is_held,
)
from miner.gpu.device import GPU
from miner.inputs import ContentMissingError
from miner.results import ResultFiles, ResultRefusedError
from miner.settlement import derive_receipt_salt
from miner.stopping import wait_for_stop
from miner.streaming import TextStream
from miner.work import Outcome, Stage, Work, fail
from zk.statement import PER_SECOND

SETTLE_MARGIN_MS: Final = 5_000
"""What is left of a lease for the proof and a block when the engine is stopped for time."""
HEARTBEAT_SECONDS: Final = 1.25
"""A cancellation is heard of by the next heartbeat, so that the engine ends within two seconds."""

LEASE_IS_OVER: Final = frozenset({
    Rejection.JOB_NOT_LEASED,
    Rejection.JOB_TERMINAL,
    Rejection.JOB_DEADLINE_PASSED,
    Rejection.LEASE_NOT_HELD,
})  # fmt: skip

log = structlog.get_logger(__name__)


class StopReason(StrEnum):
    """Why an engine was told to stop."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"
    OUT_OF_TIME = "out of time"
    DRAINED = "drained"


class Attempt:
    """One leased job while it runs."""

    def __init__(
        self,
        work: Work,
        channel: Channel,
        engine: Engine | None,
        clock: LeaseClock,
    ) -> None:
        assert work.lease is not None and work.terms is not None and work.content is not None
        self._work = work
        self._lease = work.lease
        self._terms = work.terms
        self._content = work.content
        self._client = channel.client
        self._identity = channel.identity
        self._inputs = channel.inputs
        self._engine = engine
        self._clock = clock
        self._stop = asyncio.Event()
        self._stop_reason: StopReason | None = None
        self._progress = 0
        query = {"miner_id": channel.identity.miner_id, "report_token": work.lease.report_token}
        self._stream = TextStream(channel.wire, work.job_id, query)
        self._result_files = ResultFiles(channel.wire, work.job_id, query)
        self._phase = "preparing"

    def stop(self, reason: StopReason) -> None:
        """Have the engine end soon; the first reason counts."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stop.set()

    async def run(self) -> Work | None:
        """Return the work finished or to be given back, or None when nothing is owed."""
        end = min(self._lease.ends_at, self._terms.deadline) - SETTLE_MARGIN_MS
        seconds = (end - self._clock.read()) / 1000
        if self._engine is None or not is_held(self._content.get("model"), self._engine.model):
            return fail(self._work, Reason.MODEL_MISSING, "not a model of this miner")
        if seconds <= 0:
            return fail(self._work, Reason.TIME_LIMIT_REACHED, "no time is left on the lease")
        heartbeat = asyncio.create_task(self._send_heartbeats())
        timer = asyncio.get_running_loop().call_later(seconds, self.stop, StopReason.OUT_OF_TIME)
        try:
            return await self._run_engine(self._engine)
        except (
            InputInvalidError, ContentMissingError, EngineFailedError, ResultRefusedError
        ) as error:  # fmt: skip
            log.warning("the job failed", job=self._work.job_id, error=str(error))
            return fail(self._work, error.reason, str(error))
        finally:
            timer.cancel()
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat
            await self._stream.finish()

    async def _run_engine(self, engine: Engine) -> Work | None:
        task = engine.read(self._content)
        about = await engine.prepare()
        if self._work.needs_gpu and not about.has_gpu:
            return self._refuse_device(about.device)
        async with self._inputs.open_folder() as folder:
            fetching = self._inputs.fetch(self._work, task.sources, folder)
            files = await wait_for_stop(self._stop, fetching)
            self._phase = "running"
            started = self._clock.read()
            if files is None:
                result = EngineResult({}, 0, "", is_cut=True)
            else:
                async with measure_aftermath(self._stop) as measured:
                    result = await task.run(files, self._note_progress, self._stop)
                self._tell_stopped(measured)
                if self._work.needs_gpu and not (result.is_cut or result.device.startswith(GPU)):
                    return self._refuse_device(result.device)
            completed = max(self._clock.read(), started + 1)
            if files is not None and result.files:
                result = await self._store_files(result, files[OUTPUT])
        if self._work.billing == PER_SECOND:
            # A begun second counts, and is over before its result is handed in.
            units = min(result.units, self._terms.max_units)
            completed = max(completed, started + 1000 * units)
            await asyncio.sleep(max(0, completed - self._clock.read()) / 1000)
        if not result.is_cut:
            return self._finish(result, started, completed)
        match self._stop_reason:
            case StopReason.OUT_OF_TIME:
                return fail(self._work, Reason.TIME_LIMIT_REACHED, "the lease is nearly over")
            case StopReason.DRAINED:
                return fail(self._work, Reason.MINER_DRAINED, "the miner was shut down")
            case StopReason.CANCELLED if result.units:
                return self._finish(result, started, completed)
            case _:
                log.info("the job was dropped", job=self._work.job_id, reason=self._stop_reason)
                return None

    def _refuse_device(self, device: str) -> Work:
        on = device or "what its server has"
        detail = f"the job asks for a GPU, and this engine computes on {on}"
        log.warning("the job failed", job=self._work.job_id, error=detail)
        return fail(self._work, Reason.RESOURCES_MISSING, detail)

    def _tell_stopped(self, measured: Aftermath) -> None:
        if measured.wall is not None and measured.cpu is not None:
            log.info(
                "the engine was stopped",
                job=self._work.job_id,
                reason=self._stop_reason,
                stopped_after_seconds=round(measured.wall, 2),
                engine_seconds_after_cancel=round(measured.cpu, 2),
            )

    async def _store_files(self, result: EngineResult, folder: Path) -> EngineResult:
        """Return the result with its files stored; told to stop before that, nothing of it.

        What its client cannot have is not billed.
        """
        self._phase = "uploading"
        storing = self._result_files.store(result.files, folder)
        stored = await wait_for_stop(self._stop, storing)
        if stored is None:
            return EngineResult({}, 0, result.engine, is_cut=True)
        return msgspec.structs.replace(result, answer={**result.answer, "files": stored})

    def _finish(self, result: EngineResult, started: int, completed: int) -> Work:
        answer = {**result.answer, "model": self._content["model"]}
        receipt = ReceiptTerms(
            # The escrow bounds what is billed, whatever the engine counted.
            units=min(result.units, self._terms.max_units),
            started=started,
            completed=completed,
            result_hash=compute_content_hash(answer),
            salt=derive_receipt_salt(self._identity.wallet, self._work.job),
        )
        outcome = Outcome(
            answer, receipt, result.engine, result.device, dict(result.pins), result.energy_joules
        )
        return msgspec.structs.replace(self._work, stage=Stage.FINISHED, outcome=outcome)

    def _note_progress(self, progress: int, text: str) -> None:
        self._progress = max(self._progress, progress)
        self._stream.add(self._progress, text)

    async def _send_heartbeats(self) -> None:
        """Say that we are here, and hear whether the client still wants the job."""
        while True:
            await self._send_heartbeat()
            await asyncio.sleep(min(HEARTBEAT_SECONDS, self._lease.heartbeat_seconds))

    async def _send_heartbeat(self) -> None:
        try:
            answer = await self._client.miners.send_heartbeat(
                self._work.job_id,
                self._identity.miner_id,
                progress=self._progress,
                phase=self._phase,
                report_token=self._lease.report_token,
            )
        except APIError as error:
            if error.rejection in LEASE_IS_OVER:
                self.stop(StopReason.LEASE_LOST)
            else:
                log.warning("heartbeat refused", job=self._work.job_id, error=str(error))
        except AITBCError as error:
            # The lease stands on the chain, not on this coordinator: the work goes on.
            log.warning("heartbeat lost", job=self._work.job_id, error=str(error))
        else:
            if answer.cancel_requested:
                self.stop(StopReason.CANCELLED)
