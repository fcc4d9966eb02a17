"""Performing what the consensus machine asks for, in its order, and telling it what came of it.

The order on disk is rule C11: the journal before the signature leaves, the signature before the
block that it helps to commit. Everything that makes the chain grow, caught-up ranges included, goes
through this one loop.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, assert_never

from consensus import effects, inputs
from consensus.block_tree import FinalHead, closes_epoch
from consensus.effects import Effect, StopReason, Timer
from consensus.evidence import Evidence
from consensus.machine import Consensus
from consensus.messages import (
    Certificate,
    CertificateRequest,
    CommittedBlock,
    Message,
    Proposal,
    Vote,
    decode_message,
)
from consensus.verification import (
    CheckedRequest,
    Committee,
    VerifiedBlock,
    VerifiedCertificate,
    VerifiedProposal,
    VerifiedVote,
    verify,
    verify_committed,
    verify_proposal,
    verify_vote,
)
from ledger.blocks import Block
from ledger.rejection import Rejected
from ledger.state import get_authorities
from node.attendance import Attendance
from node.chain import Chain
from node.clock import get_monotonic_time
from node.exit_codes import ExitCode, OperatorError
from node.metrics import Metrics
from node.peers import Peers
from node.synchronizer import Synchronizer
from node.vote_journal import VoteJournal
from p2p.interface import Session

INLINE_COMMITTEE = 16
"""Up to so many authorities a certificate is checked on the loop: a thread's hand-over costs more
than the few signatures."""

IN_STEP_SECONDS = 0.05
"""How often a starting node looks whether it lacks blocks."""

T = TypeVar("T")


class ConsensusStopped(OperatorError):
    """The machine stopped itself: going on would risk the chain."""

    def __init__(self, reason: StopReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        is_copied = reason is StopReason.OWN_KEY_ELSEWHERE
        self.exit_code = ExitCode.CONFLICTING_SIGNATURE_SEEN if is_copied else ExitCode.DIVERGED


class _FetchedRange(NamedTuple):
    """Final blocks of a peer, and who waits for them to be committed."""

    blocks: Sequence[CommittedBlock]
    done: "asyncio.Future[None]"


ReportEvidence = Callable[[Evidence, Committee], None]


class ConsensusDriver:
    """Runs one machine. `run` ends only by an error or by being cancelled."""

    def __init__(
        self,
        machine: Consensus,
        chain: Chain,
        journal: VoteJournal,
        metrics: Metrics,
        peers: Peers,
        synchronizer: Synchronizer,
        executor: Executor,
        report: ReportEvidence,
    ) -> None:
        self.attendance = Attendance()
        self._machine = machine
        self._chain = chain
        self._journal = journal
        self._metrics = metrics
        self._peers = peers
        self._synchronizer = synchronizer
        self._executor = executor
        self._report = report
        self._inputs: asyncio.Queue[inputs.Input | _FetchedRange] = asyncio.Queue()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._is_work_told = False
        # One thread: signatures become durable in the order in which they are made.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="vote-journal")
        # Before the first block of this run: else it would seem to lack all that it has stored.
        peers.tell_height(chain.head.height)
        self._show_authorities()

    @property
    def key(self) -> bytes:
        """This node's own key, whether or not it is an authority's."""
        return self._journal.key

    @property
    def view(self) -> int:
        """The view that the machine is in."""
        return self._machine.view

    @property
    def committee(self) -> Committee:
        """The authorities whose votes count now."""
        return self._machine.committee

    @property
    def is_voting(self) -> bool:
        """Whether this node is an authority: others hear of blocks by notices alone."""
        return self._machine.committee.get_index(self._journal.key) is not None

    def repeat_votes(self) -> None:
        """Send all votes of open views once more: another process may have voted otherwise."""
        for vote in self._machine.list_own_votes():
            self._peers.broadcast(vote)

    def get_block(self, block_hash: bytes) -> Block | None:
        """Return a block above the final head, for a peer that lacks it."""
        return self._machine.get_block(block_hash)

    def on_work(self) -> None:
        """Tell the machine that something waits for a block; cheap to call often."""
        if not self._is_work_told:
            self._is_work_told = True
            self._put(inputs.WorkKnown(get_monotonic_time(), True))

    async def receive(self, session: Session, data: bytes) -> None:
        """Take a peer's message. Raises `Rejected` for what no honest node sends."""
        message = decode_message(data)
        committee, epoch = self._machine.committee, _get_epoch(message)
        if epoch > committee.epoch:
            self._synchronizer.seek()
        if epoch != committee.epoch or not self._machine.is_useful(message):
            return
        if isinstance(message, Proposal) or committee.size > INLINE_COMMITTEE:
            verified = await self._on_executor(verify, message, committee)
        else:
            verified = verify(message, committee)
        now = get_monotonic_time()
        match verified:
            case VerifiedVote():
                self.attendance.note(verified.vote.signer, verified.vote.ballot, now)
                self._put(inputs.VoteReceived(now, verified))
            case VerifiedProposal():
                self._put(inputs.ProposalReceived(now, verified))
            case VerifiedCertificate(certificate):
                for signer in certificate.signers:
                    self.attendance.note(signer, certificate.ballot, now)
                self._put(inputs.CertificateReceived(now, verified))
            case CheckedRequest():
                index = committee.get_index(session.key)
                if index is not None:
                    self._put(inputs.CertificatesRequested(now, index, verified))
            case _:
                assert_never(verified)

    async def take_range(self, blocks: Sequence[CommittedBlock]) -> None:
        """Check and commit a peer's final blocks, in order. Raises `Rejected`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inputs.put_nowait(_FetchedRange(blocks, done))
        await done

    async def run(self) -> None:
        """Drive the machine. Raises `OperatorError` when this node must not go on."""
        self._put(inputs.Started(get_monotonic_time(), is_connected=False))
        if self._chain.has_work():
            self.on_work()
        watches = [
            asyncio.create_task(self._watch_deadlines()),
            asyncio.create_task(self._watch_connections()),
        ]
        try:
            while True:
                item = await self._inputs.get()
                if isinstance(item, _FetchedRange):
                    await self._take_range(item)
                else:
                    await self._handle(item)
                self._metrics.view.set(self._machine.view)
        finally:
            for watch in watches:
                watch.cancel()
            for timer in self._timers.values():
                timer.cancel()

    def close(self) -> None:
        """Let the last signature become durable, and close the journal."""
        self._disk.shutdown()
        self._journal.close()

    async def _handle(self, item: inputs.Input) -> None:
        for effect in self._machine.handle(item):
            await self._perform(effect)

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
            case effects.Commit(committed, block_hash):
                await self._store(committed, block_hash)
                if closes_epoch(committed.block):
                    self._put(self._make_epoch_opened())
            case effects.ReportEvidence(evidence):
                self._report(evidence, self._machine.committee)
            case effects.Stop(reason, detail):
                raise ConsensusStopped(reason, detail)
            case effects.Broadcast(message):
                self._peers.broadcast(message)
            case effects.Send(authority, message):
                self._peers.send(self._machine.committee.get_key(authority), message)
            case effects.FetchBlock(block_hash, holders):
                keys = [self._machine.committee.get_key(holder) for holder in holders]
                self._synchronizer.fetch_block(block_hash, keys, self._on_block)
            case effects.CatchUp():
                self._synchronizer.seek()
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

    def _on_block(self, block: VerifiedBlock) -> None:
        self._put(inputs.BlockReceived(get_monotonic_time(), block))

    async def _sign_proposal(self, effect: effects.SignProposal) -> None:
        proposal = await self._on_disk(self._journal.sign_proposal, effect.view, effect.block)
        self._peers.broadcast(proposal)
        verified = verify_proposal(proposal, self._machine.committee)
        self._put(inputs.ProposalReceived(get_monotonic_time(), verified))

    async def _sign_vote(self, effect: effects.SignVote) -> None:
        committee = self._machine.committee
        signer = committee.get_index(self._journal.key)
        assert signer is not None
        start = time.perf_counter()
        vote = await self._on_disk(self._journal.sign_vote, effect.ballot, effect.proposal, signer)
        self._metrics.journal_seconds.observe(time.perf_counter() - start)
        self._peers.broadcast(vote)
        now = get_monotonic_time()
        self.attendance.note(signer, vote.ballot, now)
        self._put(inputs.VoteReceived(now, verify_vote(vote, committee)))

    async def _take_range(self, fetched: _FetchedRange) -> None:
        """Commit what of a range is above the head; a block that does not hold ends it."""
        try:
            for committed in fetched.blocks:
                if committed.block.header.height == self._chain.head.height + 1:
                    await self._take_committed(committed)
        except Exception as error:
            # The one who fetched it names the peer; what is no refusal ends the node as well.
            if fetched.done.cancelled():
                raise
            fetched.done.set_exception(error)
            if not isinstance(error, Rejected):
                raise
        else:
            if not fetched.done.cancelled():
                fetched.done.set_result(None)

    async def _take_committed(self, committed: CommittedBlock) -> None:
        committee = self._machine.committee
        verified = await self._on_executor(verify_committed, committed, committee)
        if not await self._chain.validate(committed.block, verified.block_hash, True):
            detail = f"block {verified.block_hash.hex()} is final and invalid"
            raise ConsensusStopped(StopReason.DIVERGED, detail)
        await self._store(committed, verified.block_hash)
        header, closes = committed.block.header, closes_epoch(committed.block)
        certificate = committed.finality.certificate
        head = FinalHead(verified.block_hash, header.height, header.view, certificate, closes)
        await self._handle(inputs.ChainAdvanced(get_monotonic_time(), head))
        if closes:
            await self._handle(self._make_epoch_opened())

    async def _store(self, committed: CommittedBlock, block_hash: bytes) -> None:
        await self._chain.commit(committed, block_hash, self._journal.sequence)
        header = committed.block.header
        await self._on_disk(self._journal.compact, header.epoch, header.view)
        self._peers.tell_height(header.height)
        self._show_authorities()
        self._is_work_told = False
        self._tell_work()

    def _make_epoch_opened(self) -> inputs.EpochOpened:
        self.attendance.clear()
        current = get_authorities(self._chain.view).current
        return inputs.EpochOpened(get_monotonic_time(), current)

    def _show_authorities(self) -> None:
        authorities = get_authorities(self._chain.view)
        self._peers.set_authorities(
            [member.key for member in authorities.current.members],
            [member.key for member in authorities.following.members],
        )

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

    async def _watch_connections(self) -> None:
        """Notice when this node is in step with the others: from then on it listens (rule C16)."""
        while True:
            await self._peers.wait_connected_enough()
            if not self._peers.compute_behind_by():
                break
            self._synchronizer.seek()
            await asyncio.sleep(IN_STEP_SECONDS)
        self._put(inputs.Connected(get_monotonic_time()))

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _on_executor(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _put(self, item: inputs.Input) -> None:
        self._inputs.put_nowait(item)


def _get_epoch(message: Message) -> int:
    match message:
        case Proposal():
            return message.block.header.epoch
        case CertificateRequest():
            return message.epoch
        case Vote() | Certificate():
            return message.ballot.epoch
        case _:
            assert_never(message)
