"""A simulated node: the shipped machine, sign-state and journal under a driver that may crash.

The driver does what the real one does, in the same order, and each step is a place to crash.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, assert_never

from consensus import effects, inputs
from consensus.block_tree import FinalHead, closes_epoch
from consensus.journal import decode_journal, encode_frame
from consensus.machine import Consensus
from consensus.messages import CommittedBlock, Message, Proposal, Vote
from consensus.restored import Restored
from consensus.sign_state import SignState, check_sign_state
from consensus.timing import Timing
from consensus.verification import (
    CheckedRequest,
    Committee,
    VerifiedCertificate,
    VerifiedProposal,
    VerifiedVote,
    verify_block,
    verify_committed,
)
from ledger.ballots import Ballot, compute_proposal_bytes, compute_vote_bytes
from ledger.blocks import Block, compute_header_hash
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import CHAIN_ID, GENESIS_HASH, World, get_done

MachineFactory = Callable[[Committee, bytes | None, Timing, Restored], Consensus]


class Crashed(Exception):
    """The process has died between two steps."""


class Surroundings(Protocol):
    """What a node needs of the cluster (the cluster itself, or a test that holds one node)."""

    now: int

    def send(self, sender: int, receiver: int, message: Message) -> None: ...

    def broadcast(self, sender: int, message: Message) -> None: ...

    def set_timer(self, node: "SimulatedNode", timer: effects.Timer, at: int) -> None: ...

    def fetch(self, node: "SimulatedNode", block_hash: bytes, holders: tuple[int, ...]) -> None: ...

    def catch_up(self, node: "SimulatedNode") -> None: ...

    def on_commit(self, node: "SimulatedNode", committed: CommittedBlock) -> None: ...

    def on_evidence(self, node: "SimulatedNode", report: effects.ReportEvidence) -> None: ...

    def on_stop(self, node: "SimulatedNode", stop: effects.Stop) -> None: ...


@dataclass
class Store:
    """What survives a crash besides the journal: final blocks with the sign-state's number."""

    committed: list[CommittedBlock] = field(default_factory=list)
    sequence: int = 0


@dataclass(frozen=True)
class Variant:
    """The classes of a run; a seeded bug replaces one of them."""

    machine: MachineFactory = Consensus
    sign_state: type[SignState] = SignState
    is_synced: bool = True
    """Whether the driver makes a signature durable before it leaves."""


class SimulatedNode:
    """One process, from a start to a crash; a restart makes a new one on the same disk."""

    def __init__(
        self,
        index: int,
        world: World,
        surroundings: Surroundings,
        timing: Timing,
        random: Random,
        disk: SimulatedDisk,
        store: Store,
        variant: Variant,
        clock_offset: int = 0,
    ) -> None:
        self.index = index
        self.world = world
        self._surroundings = surroundings
        self.timing = timing
        self.random = random
        self.disk = disk
        self.store = store
        self.variant = variant
        self._offset = clock_offset
        self.crash_chance = 0.0
        self.known = 0
        """Number of work items heard of."""
        self.is_up = False
        self.started_at = 0
        self.blocks: dict[bytes, Block] = {}
        """Executed blocks above the final head, as overlays are."""
        self._inbox: deque[inputs.Input] = deque()
        self._is_busy = False
        self.nullified: list[tuple[int, int]] = []
        """(time, view) of each nullify vote."""
        self.committed_at: list[int] = []

    @property
    def now(self) -> int:
        """This node's own monotonic clock."""
        return self._surroundings.now + self._offset

    @property
    def done(self) -> int:
        """Work items in final blocks."""
        return get_done(self.store.committed[-1].block) if self.store.committed else 0

    def start(self) -> None:
        """Read the disk and start the machine (rule C11 and C16)."""
        key = self.world.keys[self.index]
        journal = decode_journal(self.disk.durable, CHAIN_ID, key)
        if journal is None:
            check_sign_state(None, self.store.sequence)
            self.sign_state = self.variant.sign_state.create(CHAIN_ID, key)
        else:
            self.sign_state = self.variant.sign_state.restore(journal)
            check_sign_state(self.sign_state.sequence, self.store.sequence)
        head = self._make_head()
        committee = self.world.committees[self.world.get_epoch(head.height + 1)]
        self.disk.replace(encode_frame(self.sign_state.compact(committee.epoch, 0)))
        restored = self.sign_state.make_restored(head, committee)
        self.machine = self.variant.machine(committee, key, self.timing, restored)
        self.is_up = True
        self.started_at = self._surroundings.now
        self.tell(inputs.Started(self.now))
        self.learn(self.known)

    def _make_head(self) -> FinalHead:
        if not self.store.committed:
            return FinalHead(GENESIS_HASH, 0, 0)
        last = self.store.committed[-1]
        header = last.block.header
        certificate = last.finality.certificate
        return FinalHead(compute_header_hash(header), header.height, header.view, certificate)

    def learn(self, known: int) -> None:
        """Hear of work items up to a number."""
        self.known = max(self.known, known)
        if self.is_up:
            self.tell(inputs.WorkKnown(self.now, self.known > self.done))

    def receive(self, sender: int, message: Message) -> None:
        """Verify a message and hand it on."""
        epoch = _get_epoch(message)
        if epoch > self.machine.committee.epoch:
            self._surroundings.catch_up(self)
        if epoch != self.machine.committee.epoch or not self.machine.is_useful(message):
            return
        match self.world.verify(message, epoch):
            case VerifiedVote() as vote:
                self.tell(inputs.VoteReceived(self.now, vote))
            case VerifiedProposal() as proposal:
                self.tell(inputs.ProposalReceived(self.now, proposal))
            case VerifiedCertificate() as certificate:
                self.tell(inputs.CertificateReceived(self.now, certificate))
            case CheckedRequest() as request:
                index = self.machine.committee.get_index(self.world.keys[sender])
                if index is not None:
                    self.tell(inputs.CertificatesRequested(self.now, index, request))

    def receive_block(self, block: Block) -> None:
        """Take the answer to a fetch."""
        self.tell(inputs.BlockReceived(self.now, verify_block(block)))

    def fire(self, timer: effects.Timer) -> None:
        """Take a timer's end."""
        self.tell(inputs.TimerFired(self.now, timer))

    def serve_block(self, block_hash: bytes) -> Block | None:
        """Return a block for a peer."""
        block = self.machine.get_block(block_hash)
        if block is not None:
            return block
        for committed in reversed(self.store.committed[-40:]):
            if compute_header_hash(committed.block.header) == block_hash:
                return committed.block
        return None

    def take_range(self, blocks: list[CommittedBlock]) -> None:
        """Check and commit final blocks of a peer, in order (rule C12)."""
        for committed in blocks:
            header = committed.block.header
            if header.height != len(self.store.committed) + 1:
                continue
            verify_committed(committed, self.world.committees[self.world.get_epoch(header.height)])
            self._store(committed)
            certificate = committed.finality.certificate
            block_hash = compute_header_hash(header)
            head = FinalHead(
                block_hash, header.height, header.view, certificate, closes_epoch(committed.block)
            )
            self.tell(inputs.ChainAdvanced(self.now, head))
            if closes_epoch(committed.block):
                authorities = self.world.committees[header.epoch + 1].authorities
                self.tell(inputs.EpochOpened(self.now, authorities))

    def tell(self, item: inputs.Input) -> None:
        """Handle an input, its effects, and the inputs that come of these."""
        self._inbox.append(item)
        if self._is_busy:
            return
        self._is_busy = True
        while self._inbox:
            for effect in self.machine.handle(self._inbox.popleft()):
                self.perform(effect)
        self._is_busy = False

    def step(self) -> None:
        """Perhaps crash here."""
        if self.crash_chance and self.random.random() < self.crash_chance:
            raise Crashed

    def perform(self, effect: effects.Effect) -> None:
        """Do one thing that the machine asks for."""
        around = self._surroundings
        match effect:
            case effects.SetTimer(timer, at):
                around.set_timer(self, timer, at - self._offset)
            case effects.RequestProposal():
                self._inbox.append(inputs.ProposalBuilt(self.now, effect.view, self.build(effect)))
            case effects.SignProposal(view, block, block_hash):
                self.sign_proposal(view, block, block_hash)
            case effects.SignVote(ballot, proposal):
                self.sign_vote(ballot, proposal)
            case effects.JournalCertificate(certificate):
                self.sign_state.record_certificate(certificate)
            case effects.Broadcast(message):
                around.broadcast(self.index, message)
            case effects.Send(authority, message):
                around.send(self.index, self._get_node(authority), message)
            case effects.FetchBlock(block_hash, holders):
                around.fetch(self, block_hash, tuple(map(self._get_node, holders)))
            case effects.ValidateBlock(block, block_hash, is_certified):
                self._validate(block, block_hash, is_certified)
            case effects.Commit(committed, _):
                self._commit(committed)
            case effects.CatchUp():
                around.catch_up(self)
            case effects.ReportEvidence():
                around.on_evidence(self, effect)
            case effects.Stop():
                around.on_stop(self, effect)
            case _:
                assert_never(effect)

    def build(self, request: effects.RequestProposal) -> Block:
        """Return a block with all work known here."""
        done = max(self.known, self._get_done(request.parent))
        block = self.world.build(
            request.height, request.view, request.parent, request.parent_view, self.now, done
        )
        self.blocks[compute_header_hash(block.header)] = block
        return block

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        """Journal, then send, then hear oneself (rule C11)."""
        epoch = block.header.epoch
        proposal = self.sign_state.find_proposal(epoch, view, block_hash)
        if proposal is None:
            proposal = self.make_proposal(view, block, block_hash)
            self._write(encode_frame(self.sign_state.record_proposal(proposal)))
        self._surroundings.broadcast(self.index, proposal)
        self.step()
        self._hear_proposal(proposal)

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        """Journal, then send, then hear oneself (rule C11)."""
        if ballot.kind.name == "NULLIFY":
            self.nullified.append((self._surroundings.now, ballot.view))
        vote = self.sign_state.find_vote(ballot)
        if vote is None:
            vote = self.make_vote(ballot)
            self._write(encode_frame(self.sign_state.record_vote(vote, proposal)))
        self._surroundings.broadcast(self.index, vote)
        self.step()
        self._hear_vote(vote)

    def make_vote(self, ballot: Ballot) -> Vote:
        """Return the signed ballot."""
        index = self.machine.committee.get_index(self.world.keys[self.index])
        assert index is not None
        message = compute_vote_bytes(CHAIN_ID, ballot)
        return Vote(ballot, index, self.world.scheme.sign(self.world.seeds[self.index], message))

    def make_proposal(self, view: int, block: Block, block_hash: bytes) -> Proposal:
        """Return the signed block."""
        message = compute_proposal_bytes(CHAIN_ID, block.header.epoch, view, block_hash)
        signature = self.world.scheme.sign(self.world.seeds[self.index], message)
        return Proposal(view, block, signature)

    def _write(self, frame: bytes) -> None:
        self.step()
        self.disk.append(frame)
        self.step()
        if self.variant.is_synced:
            self.disk.sync()
        self.step()

    def _hear_vote(self, vote: Vote) -> None:
        verified = self.world.verify(vote, vote.ballot.epoch)
        assert isinstance(verified, VerifiedVote)
        self._inbox.append(inputs.VoteReceived(self.now, verified))

    def _hear_proposal(self, proposal: Proposal) -> None:
        verified = self.world.verify(proposal, proposal.block.header.epoch)
        assert isinstance(verified, VerifiedProposal)
        self._inbox.append(inputs.ProposalReceived(self.now, verified))

    def _validate(self, block: Block, block_hash: bytes, is_certified: bool) -> None:
        is_valid = self.world.is_valid(block, self._get_done(block.header.parent))
        if is_valid:
            self.blocks[block_hash] = block
        answer = inputs.BlockValidated(self.now, block_hash, is_valid, is_certified)
        self._inbox.append(answer)

    def _get_done(self, block_hash: bytes) -> int:
        if block_hash in self.blocks:
            return get_done(self.blocks[block_hash])
        head = self._make_head()
        assert block_hash == head.block_hash, "asked to build on a block that was not executed"
        return self.done

    def _commit(self, committed: CommittedBlock) -> None:
        self.step()
        self._store(committed)
        self.step()
        block = committed.block
        if closes_epoch(block):
            authorities = self.world.committees[block.header.epoch + 1].authorities
            self._inbox.append(inputs.EpochOpened(self.now, authorities))

    def _store(self, committed: CommittedBlock) -> None:
        self.store.committed.append(committed)
        self.store.sequence = self.sign_state.sequence
        self._surroundings.on_commit(self, committed)
        header = committed.block.header
        self.blocks = {h: b for h, b in self.blocks.items() if b.header.height > header.height}
        if header.height % 8 == 0:
            self.disk.replace(encode_frame(self.sign_state.compact(header.epoch, header.view)))
        self._inbox.append(inputs.WorkKnown(self.now, self.known > self.done))

    def _get_node(self, authority: int) -> int:
        return self.world.keys.index(self.machine.committee.get_key(authority))


def _get_epoch(message: Message) -> int:
    if isinstance(message, Proposal):
        return message.block.header.epoch
    if hasattr(message, "ballot"):
        return message.ballot.epoch
    return message.epoch
