"""Performing what the consensus machine asks for, in its order, and telling it what came of it.

The order on disk is rule C11: the journal before the signature leaves, the signature before the
block that it helps to commit. A lone authority has no peers, so nothing is sent.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, assert_never

import structlog

from consensus import effects, inputs
from consensus.effects import Effect, Timer
from consensus.machine import Consensus
from consensus.verification import verify_proposal, verify_vote
from node.chain import Chain
from node.clock import get_monotonic_time
from node.exit_codes import ExitCode, OperatorError
from node.metrics import Metrics
from node.vote_journal import VoteJournal

log = structlog.get_logger()

T = TypeVar("T")


class ConsensusStopped(OperatorError):
    """The machine stopped itself: going on would risk the chain."""

    exit_code = ExitCode.CONFLICTING_SIGNATURE_SEEN


class ConsensusDriver:
    """Runs one machine. `run` ends only by an error or by being cancelled."""

    def __init__(
        self, machine: Consensus, chain: Chain, journal: VoteJournal, metrics: Metrics
    ) -> None:
        self._machine = machine
        self._chain = chain
        self._journal = journal
        self._metrics = metrics
        self._inputs: asyncio.Queue[inputs.Input] = asyncio.Queue()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._is_work_told = False
        # One thread: signatures become durable in the order in which they are made.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="vote-journal")

    @property
    def view(self) -> int:
        """The view that the machine is in."""
        return self._machine.view

    def on_work(self) -> None:
        """Tell the machine that something waits for a block; cheap to call often."""
        if not self._is_work_told:
            self._is_work_told = True
            self._put(inputs.WorkKnown(get_monotonic_time(), True))

    async def run(self) -> None:
        """Drive the machine. Raises `OperatorError` when this node must not go on."""
        self._put(inputs.Started(get_monotonic_time()))
        if self._chain.has_work():
            self.on_work()
        watch = asyncio.create_task(self._watch_deadlines())
        try:
            while True:
                item = await self._inputs.get()
                for effect in self._machine.handle(item):
                    await self._perform(effect)
                self._metrics.view.set(self._machine.view)
        finally:
            watch.cancel()
            for timer in self._timers.values():
                timer.cancel()

    def close(self) -> None:
        """Let the last signature become durable, and close the journal."""
        self._disk.shutdown()
        self._journal.close()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.SetTimer(timer, at):
                self._set_timer(timer, at)
            case effects.RequestProposal():
                block = self._chain.build(effect, self._journal.key)
                self._put(inputs.ProposalBuilt(get_monotonic_time(), effect.view, block))
            case effects.SignProposal():
                await self._sign_proposal(effect)
            case effects.SignVote():
                await self._sign_vote(effect)
            case effects.JournalCertificate(certificate):
                self._journal.keep_certificate(certificate)
            case effects.ValidateBlock(block, block_hash, is_certified):
                is_valid = await self._chain.validate(block, block_hash, is_certified)
                now = get_monotonic_time()
                self._put(inputs.BlockValidated(now, block_hash, is_valid, is_certified))
            case effects.Commit():
                await self._commit(effect)
            case effects.ReportEvidence(evidence):
                log.error("an authority broke the rules", evidence=repr(evidence)[:500])
            case effects.Stop(reason, detail):
                raise ConsensusStopped(f"{reason.value}: {detail}")
            case effects.Broadcast() | effects.Send():
                pass  # To nobody: a lone authority's own votes come back as input above.
            case effects.FetchBlock() | effects.CatchUp():
                raise AssertionError("a lone authority lacks no block that it certified")
            case _:
                assert_never(effect)

    def _set_timer(self, timer: Timer, at: int) -> None:
        pending = self._timers.pop(timer, None)
        if pending is not None:
            pending.cancel()
        delay = max(0, at - get_monotonic_time()) / 1000
        self._timers[timer] = asyncio.get_running_loop().call_later(delay, self._fire, timer)

    def _fire(self, timer: Timer) -> None:
        self._put(inputs.TimerFired(get_monotonic_time(), timer))

    async def _sign_proposal(self, effect: effects.SignProposal) -> None:
        proposal = await self._on_disk(self._journal.sign_proposal, effect.view, effect.block)
        verified = verify_proposal(proposal, self._machine.committee)
        self._put(inputs.ProposalReceived(get_monotonic_time(), verified))

    async def _sign_vote(self, effect: effects.SignVote) -> None:
        committee = self._machine.committee
        signer = committee.get_index(self._journal.key)
        assert signer is not None
        start = time.perf_counter()
        vote = await self._on_disk(self._journal.sign_vote, effect.ballot, effect.proposal, signer)
        self._metrics.journal_seconds.observe(time.perf_counter() - start)
        self._put(inputs.VoteReceived(get_monotonic_time(), verify_vote(vote, committee)))

    async def _commit(self, effect: effects.Commit) -> None:
        await self._chain.commit(effect.committed, effect.block_hash, self._journal.sequence)
        header = effect.committed.block.header
        await self._on_disk(self._journal.compact, header.epoch, header.view)
        self._is_work_told = False
        self._tell_work()

    def _tell_work(self) -> None:
        if self._chain.has_work():
            self.on_work()
        else:
            self._put(inputs.WorkKnown(get_monotonic_time(), False))

    async def _watch_deadlines(self) -> None:
        """Notice deadlines that have passed: no message says so."""
        interval = self._chain.rules.parameters.block_interval / 1000
        while True:
            await asyncio.sleep(interval)
            if self._chain.has_work():
                self.on_work()

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    def _put(self, item: inputs.Input) -> None:
        self._inputs.put_nowait(item)
