"""Decides what the miner does next: ask for a job, claim it, run it, hand it in, or shut down.

A job is handed in beside the next one. A shutdown takes no new claims, lets what runs end while
there is time, gives the other leases back, and leaves whatever is still owed in the spool.
"""

import asyncio
import math
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Final, NamedTuple

import structlog

from aitbc.errors import AITBCError, NotFoundError
from aitbc.models import Job
from miner.attempt import Attempt, StopReason
from miner.claims import Claim, plan_claim
from miner.clock import LeaseClock
from miner.delivery import Channel, Delivery
from miner.engines.interface import Engine
from miner.registration import Registration
from miner.stopping import wait_for_stop
from miner.work import Stage, Work

HAND_IN_SECONDS: Final = 3.0
"""What is kept of a shutdown's time for giving leases back and handing results in."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0

log = structlog.get_logger(__name__)


class WorkerLimits(NamedTuple):
    """Jobs at a time, and times in seconds."""

    concurrency: int
    poll_seconds: int
    drain_seconds: float
    resend_seconds: float


class Worker:
    """The miner's main loop. `engines` and `prices` (base units per unit) by service."""

    def __init__(
        self,
        channel: Channel,
        engines: Mapping[str, Engine],
        registration: Registration,
        prices: dict[str, int],
        limits: WorkerLimits,
    ) -> None:
        self._channel = channel
        self._engines = engines
        self._registration = registration
        self._prices = prices
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._attempts: dict[bytes, Attempt] = {}
        self._busy: set[asyncio.Task[None]] = set()
        """Tasks that claim or run a job; the others hand in."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_time_up = False
        """Of a shutdown: engines are stopped, those that start only now as well."""

    async def run(self, stop: asyncio.Event, drain: asyncio.Event) -> None:
        """Work until `stop` is set and the shutdown is done, or `drain` and no work is left.

        Raises what no retry can mend.
        """
        async with asyncio.TaskGroup() as group:
            for work in await self._channel.records.load():
                log.info("resumed", job=work.job_id, stage=work.stage.name)
                if work.stage in (Stage.CLAIMING, Stage.LEASED):
                    self._start(group, self._resume(group, work), is_busy=True)
                else:
                    self._start(group, self._deliver(work))
            await wait_for_stop(stop, wait_for_stop(drain, self._take_jobs(group)))
            if not stop.is_set():
                log.info("draining", running=len(self._attempts), owed=len(self._tasks))
                await wait_for_stop(stop, _wait_idle(self._tasks, None))
            await self._drain()

    async def _take_jobs(self, group: asyncio.TaskGroup) -> None:
        failures = 0
        is_registered = False
        while True:
            await self._slots.acquire()
            self._slots.release()
            try:
                if not is_registered:
                    await self._registration.ensure()
                    is_registered = True
                job = await self._channel.client.miners.get_available_job(
                    self._channel.identity.miner_id, wait=self._limits.poll_seconds
                )
                work = None if job is None else self._plan(job)
                failures = 0
            except (AITBCError, TimeoutError) as error:
                is_registered = is_registered and not isinstance(error, NotFoundError)
                log.warning("asking for work again", error=str(error))
                await asyncio.sleep(_compute_pause(failures))
                failures += 1
                continue
            if work is None:
                await asyncio.sleep(FIRST_PAUSE if job is not None else 0)
                continue
            await self._slots.acquire()
            claimed = asyncio.Event()
            self._start(group, self._claim_and_run(group, work, claimed), is_busy=True)
            await claimed.wait()

    def _plan(self, job: Job) -> Work | None:
        if job.job_id.removeprefix("job_") in {held.hex() for held in self._attempts}:
            return None
        return plan_claim(job, self._prices, self._channel.models)

    async def _claim_and_run(
        self, group: asyncio.TaskGroup, work: Work, claimed: asyncio.Event
    ) -> None:
        """Holds a slot from its caller, and gives it back."""
        try:
            try:
                leased = await Claim(self._channel, work).take()
            finally:
                claimed.set()
            if leased is not None:
                await self._run_leased(group, leased)
        finally:
            self._slots.release()

    async def _resume(self, group: asyncio.TaskGroup, work: Work) -> None:
        await self._slots.acquire()
        if work.stage is Stage.CLAIMING:
            await self._claim_and_run(group, work, asyncio.Event())
            return
        try:
            await self._run_leased(group, work)
        finally:
            self._slots.release()

    async def _run_leased(self, group: asyncio.TaskGroup, work: Work) -> None:
        assert work.lease is not None
        if work.stage is Stage.LEASED:
            attempt = Attempt(
                work, self._channel, self._engines.get(work.service), LeaseClock(work.lease)
            )
            self._attempts[work.job] = attempt
            if self._is_time_up:
                attempt.stop(StopReason.DRAINED)
            try:
                ended = await attempt.run()
            finally:
                del self._attempts[work.job]
            if ended is None:
                await self._channel.records.remove(work.job)
                return
            work = ended
            await self._channel.records.save(work)
        self._start(group, self._deliver(work))

    async def _deliver(self, work: Work) -> None:
        await Delivery(self._channel, work, self._limits.resend_seconds).run()

    async def _drain(self) -> None:
        """End within the time given: first wait, then stop the engines, then leave the rest."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.drain_seconds
        log.info("shutting down", running=len(self._attempts), owed=len(self._tasks))
        hand_in = min(HAND_IN_SECONDS, self._limits.drain_seconds / 2)
        await _wait_idle(self._busy, end - hand_in - loop.time())
        self._is_time_up = True
        for attempt in self._attempts.values():
            attempt.stop(StopReason.DRAINED)
        await _wait_idle(self._tasks, end - loop.time())
        for task in self._tasks:
            task.cancel()
        log.info("shut down", left_in_spool=len(self._tasks))

    def _start(
        self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], *, is_busy: bool = False
    ) -> None:
        task = group.create_task(work)
        for kept in (self._tasks, self._busy) if is_busy else (self._tasks,):
            kept.add(task)
            task.add_done_callback(kept.discard)


async def _wait_idle(tasks: set[asyncio.Task[None]], seconds: float | None) -> None:
    """Wait until the set is empty; tasks that end may put others into it. None: however long."""
    loop = asyncio.get_running_loop()
    end = math.inf if seconds is None else loop.time() + seconds
    while tasks and loop.time() < end:
        rest = None if seconds is None else end - loop.time()
        await asyncio.wait(set(tasks), timeout=rest)


def _compute_pause(failures: int) -> float:
    bound: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
    return bound * (0.5 + random.random() / 2)
