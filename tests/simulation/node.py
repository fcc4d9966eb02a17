"""A simulated node: the shipped machine, sign-state and journal under a driver that may crash.

The driver does what the real one does, in the same order, and each step is a place to crash.
"""

from collections import deque
from random import Random
from typing import Protocol, assert_never

from consensus import effects, inputs
from consensus.block_tree import FinalHead, closes_epoch
from consensus.evidence import Evidence
from consensus.journal import encode_frame
from consensus.messages import (
    CertificateRequest,
    CommittedBlock,
    Message,
    Proposal,
    Vote,
    decode_message,
)
from consensus.sign_state import check_sign_state
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
from ledger.ballots import Ballot, VoteKind, compute_proposal_bytes, compute_vote_bytes
from ledger.blocks import Block, compute_header_hash
from ledger.rejection import Rejected
from ledger.transactions import EquivocationEvidence
from tests.simulation.code import Code
from tests.simulation.host import Host, Store
from tests.simulation.world import (
    CHAIN_ID,
    CLOCK_TOLERANCE,
    GENESIS_HASH,
    START_TIME,
    State,
    World,
)


class Crashed(Exception):
    """The process has died between two steps."""


class Surroundings(Protocol):
    """What a node needs of the cluster."""

    @property
    def now(self) -> int: ...

    def send(self, node: "SimulatedNode", receiver: int, message: Message | bytes) -> None: ...

    def broadcast(self, node: "SimulatedNode", message: Message) -> None: ...

    def set_timer(self, node: "SimulatedNode", timer: effects.Timer, at: int) -> None: ...

    def fetch(self, node: "SimulatedNode", block_hash: bytes, holders: tuple[int, ...]) -> None: ...

    def catch_up(self, node: "SimulatedNode") -> None: ...

    def is_in_step(self, node: "SimulatedNode") -> bool: ...

    def watch_for_step(self, node: "SimulatedNode") -> None: ...

    def on_commit(self, node: "SimulatedNode", committed: CommittedBlock) -> None: ...

    def on_evidence(self, node: "SimulatedNode", evidence: Evidence) -> None: ...

    def on_refused(self, node: "SimulatedNode", sender: int, reason: Rejected) -> None: ...

    def on_stop(self, node: "SimulatedNode", stop: effects.Stop) -> None: ...


class SimulatedNode:
    """One process, from a start to a crash; a restart makes a new one on the same host."""

    def __init__(
        self,
        host: Host,
        world: World,
        surroundings: Surroundings,
        timing: Timing,
        random: Random,
        code: Code,
    ) -> None:
        self.host = host
        self.place = host.place
        self.index = host.index
        self.world = world
        self._surroundings = surroundings
        self.timing = timing
        self.random = random
        self.code = code
        self.key = world.keys[host.index]
        self.crash_chance = 0.0
        self.known = 0
        """Number of work items heard of."""
        self.evidence: dict[int, EquivocationEvidence] = {}
        """What this node knows against others."""
        self.is_up = False
        self.has_signed = False
        """Whether this process has signed anything new."""
        self.started_at = 0
        self.states: dict[bytes, State] = {}
        """After executed blocks above the final head, as overlays are."""
        self._inbox: deque[inputs.Input] = deque()
        self._is_busy = False
        self.nullified: list[tuple[int, int]] = []
        """(time, view) of each nullify vote."""
        self.committed_at: list[int] = []

    @property
    def now(self) -> int:
        """This node's own monotonic clock."""
        return self._surroundings.now + self.host.offset

    @property
    def time(self) -> int:
        """This node's wall clock."""
        return START_TIME + self._surroundings.now + self.host.skew

    @property
    def store(self) -> Store:
        """The database."""
        return self.host.store

    @property
    def done(self) -> int:
        """Work items in final blocks."""
        return self.store.state.done

    @property
    def is_listening(self) -> bool:
        """Whether the machine only listens yet (rule C16)."""
        return self.is_up and self.machine._listening is not None

    def start(self) -> None:
        """Read the disk and start the machine (rules C11 and C16)."""
        disk, sign_state = self.host.disk, self.code.sign_state
        journal = self.code.decode(disk.durable, CHAIN_ID, self.key)
        if journal is None:
            check_sign_state(None, self.store.sequence)
            self.sign_state = sign_state.create(CHAIN_ID, self.key)
        else:
            self.sign_state = sign_state.restore(journal)
            check_sign_state(self.sign_state.sequence, self.store.sequence)
        committee = self.get_committee()
        disk.replace(encode_frame(self.sign_state.compact(committee.epoch, 0)))
        restored = self.sign_state.make_restored(self._make_head(), committee)
        self.machine = self.code.machine(committee, self.key, self.timing, restored)
        self.is_up = True
        self.started_at = self._surroundings.now
        is_connected = self._surroundings.is_in_step(self)
        self.tell(inputs.Started(self.now, is_connected))
        if not is_connected:
            self._surroundings.watch_for_step(self)
        self._tell_work()

    def get_committee(self) -> Committee:
        """Return the authorities of the block after the head."""
        return self.world.open_epoch(self.store.state)

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
        self._tell_work()

    def learn_evidence(self, payload: EquivocationEvidence) -> None:
        """Hear of a transaction that convicts an authority."""
        self.evidence.setdefault(self.world.get_offender(payload), payload)
        self._tell_work()

    def _tell_work(self) -> None:
        if self.is_up:
            state = self.store.state
            is_pending = self.known > state.done or bool(self._list_evidence(state))
            # Who is convicted leaves with the next block, which an idle chain would wait for.
            is_leaving = not state.convicted.isdisjoint(state.members)
            self.tell(inputs.WorkKnown(self.now, is_pending or is_leaving))

    def _list_evidence(self, state: State) -> tuple[EquivocationEvidence, ...]:
        known = sorted(self.evidence.items())
        return tuple(payload for node, payload in known if node not in state.convicted)

    def receive(self, sender: int, message: Message | bytes) -> None:
        """Decode and verify a message, and hand it on."""
        try:
            if isinstance(message, bytes):
                message = decode_message(message)
            epoch = get_epoch(message)
            if epoch > self.machine.committee.epoch:
                self._surroundings.catch_up(self)
            if epoch != self.machine.committee.epoch or not self.machine.is_useful(message):
                return
            verified = self.world.check(message, epoch)
        except Rejected as reason:
            self._surroundings.on_refused(self, sender, reason)
            return
        match verified:
            case VerifiedVote():
                self.tell(inputs.VoteReceived(self.now, verified))
            case VerifiedProposal():
                self.tell(inputs.ProposalReceived(self.now, verified))
            case VerifiedCertificate():
                self.tell(inputs.CertificateReceived(self.now, verified))
            case CheckedRequest():
                index = self.machine.committee.get_index(self.world.keys[sender])
                if index is not None:
                    self.tell(inputs.CertificatesRequested(self.now, index, verified))

    def receive_block(self, sender: int, block: Block) -> None:
        """Take the answer to a fetch."""
        try:
            verified = verify_block(block)
        except Rejected as reason:
            self._surroundings.on_refused(self, sender, reason)
            return
        self.tell(inputs.BlockReceived(self.now, verified))

    def fire(self, timer: effects.Timer) -> None:
        """Take a timer's end."""
        self.tell(inputs.TimerFired(self.now, timer))

    def connect(self) -> None:
        """Learn that this node is in step with others."""
        self.tell(inputs.Connected(self.now))

    def serve_block(self, block_hash: bytes) -> Block | None:
        """Return a block for a peer."""
        block = self.machine.get_block(block_hash)
        if block is not None:
            return block
        for committed in reversed(self.store.committed[-40:]):
            if compute_header_hash(committed.block.header) == block_hash:
                return committed.block
        return None

    def serve_range(self, first: int, end: int) -> list[CommittedBlock]:
        """Return final blocks for a peer."""
        return self.store.committed[first:end]

    def take_range(self, sender: int, blocks: list[CommittedBlock]) -> None:
        """Check and commit final blocks of a peer, in order (rule C12)."""
        for committed in blocks:
            header = committed.block.header
            if header.height != self.store.state.height + 1:
                continue
            try:
                self.check_final(committed)
            except Rejected as reason:
                self._surroundings.on_refused(self, sender, reason)
                return
            self._store(committed)
            certificate = committed.finality.certificate
            block_hash = compute_header_hash(header)
            head = FinalHead(
                block_hash, header.height, header.view, certificate, closes_epoch(committed.block)
            )
            self.tell(inputs.ChainAdvanced(self.now, head))
            if head.closes_epoch:
                self.tell(self._open_epoch())

    def check_final(self, committed: CommittedBlock) -> None:
        """Check a final block of a peer. Raises `Rejected`."""
        verify_committed(committed, self.get_committee())

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
                around.set_timer(self, timer, at - self.host.offset)
            case effects.RequestProposal():
                self._inbox.append(inputs.ProposalBuilt(self.now, effect.view, self.build(effect)))
            case effects.SignProposal(view, block, block_hash):
                self.sign_proposal(view, block, block_hash)
            case effects.SignVote(ballot, proposal):
                self.sign_vote(ballot, proposal)
            case effects.JournalCertificate(certificate):
                self.sign_state.record_certificate(certificate)
            case effects.Broadcast(message):
                around.broadcast(self, message)
            case effects.Send(authority, message):
                around.send(self, self._get_node(authority), message)
            case effects.FetchBlock(block_hash, holders):
                around.fetch(self, block_hash, tuple(map(self._get_node, holders)))
            case effects.ValidateBlock(block, block_hash, is_certified):
                is_valid = self.validate(block, block_hash, is_certified)
                answer = inputs.BlockValidated(self.now, block_hash, is_valid, is_certified)
                self._inbox.append(answer)
            case effects.Commit(committed, _):
                self._commit(committed)
            case effects.CatchUp():
                around.catch_up(self)
            case effects.ReportEvidence(evidence):
                around.on_evidence(self, evidence)
            case effects.Stop():
                around.on_stop(self, effect)
            case _:
                assert_never(effect)

    def build(self, request: effects.RequestProposal) -> Block:
        """Return a block with all work and evidence known here."""
        parent = self.find_state(request.parent)
        assert parent is not None, "asked to build on a block that was not executed"
        place = (request.view, request.parent, request.parent_view)
        block = self.world.build(
            parent, place, self.time, self.known, self._list_evidence(parent)[:16]
        )
        self._execute(block, compute_header_hash(block.header), parent)
        return block

    def find_state(self, block_hash: bytes) -> State | None:
        """Return the state after a block, where it was executed here and is not below the head."""
        if block_hash == self._make_head().block_hash:
            return self.store.state
        return self.states.get(block_hash)

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        """Journal, then send, then hear oneself (rule C11)."""
        epoch = block.header.epoch
        proposal = self.sign_state.find_proposal(epoch, view, block_hash)
        if proposal is None:
            proposal = self.make_proposal(view, block, block_hash)
            self._write(encode_frame(self.sign_state.record_proposal(proposal)))
        self._surroundings.broadcast(self, proposal)
        self.step()
        self.hear_own(proposal)

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        """Journal, then send, then hear oneself (rule C11)."""
        if ballot.kind is VoteKind.NULLIFY:
            self.nullified.append((self._surroundings.now, ballot.view))
        vote = self.sign_state.find_vote(ballot)
        if vote is None:
            vote = self.make_vote(ballot)
            self._write(encode_frame(self.sign_state.record_vote(vote, proposal)))
        self._surroundings.broadcast(self, vote)
        self.step()
        self.hear_own(vote)

    def make_vote(self, ballot: Ballot) -> Vote:
        """Return the signed ballot."""
        index = self.machine.committee.get_index(self.key)
        assert index is not None
        message = compute_vote_bytes(CHAIN_ID, ballot)
        return Vote(ballot, index, self.world.scheme.sign(self.world.seeds[self.index], message))

    def make_proposal(self, view: int, block: Block, block_hash: bytes) -> Proposal:
        """Return the signed block."""
        message = compute_proposal_bytes(CHAIN_ID, block.header.epoch, view, block_hash)
        signature = self.world.scheme.sign(self.world.seeds[self.index], message)
        return Proposal(view, block, signature)

    def _write(self, frame: bytes) -> None:
        self.has_signed = True
        self.step()
        self.host.disk.append(frame)
        self.step()
        if self.code.is_synced:
            self.host.disk.sync()
        self.step()

    def hear_own(self, message: Vote | Proposal) -> None:
        """Return a signature of this node to its machine."""
        verified = self.world.check(message, get_epoch(message))
        if isinstance(verified, VerifiedVote):
            self._inbox.append(inputs.VoteReceived(self.now, verified))
        elif isinstance(verified, VerifiedProposal):
            self._inbox.append(inputs.ProposalReceived(self.now, verified))

    def validate(self, block: Block, block_hash: bytes, is_certified: bool) -> bool:
        """Execute a block; the clock decides only about one that is not certified (rule C9)."""
        if not is_certified and block.header.time > self.time + CLOCK_TOLERANCE:
            return False
        parent = self.find_state(block.header.parent)
        assert parent is not None, "asked to execute a block before its parent"
        return self._execute(block, block_hash, parent)

    def _execute(self, block: Block, block_hash: bytes, parent: State) -> bool:
        state = self.world.execute(block, parent)
        if state is not None:
            self.states[block_hash] = state
        return state is not None

    def _commit(self, committed: CommittedBlock) -> None:
        self.step()
        self._store(committed)
        self.step()
        if closes_epoch(committed.block):
            self._inbox.append(self._open_epoch())

    def _open_epoch(self) -> inputs.EpochOpened:
        return inputs.EpochOpened(self.now, self.get_committee().authorities)

    def _store(self, committed: CommittedBlock) -> None:
        header, store = committed.block.header, self.store
        state = self.world.execute(committed.block, store.state)
        assert state is not None, f"the final block {header.height} does not execute"
        store.state = state
        store.committed.append(committed)
        store.sequence = self.sign_state.sequence
        self._surroundings.on_commit(self, committed)
        self.forget_states(state.height)
        if header.height % 8 == 0:
            self.step()
            self.host.disk.replace(encode_frame(self.sign_state.compact(header.epoch, header.view)))
        self._tell_work()

    def forget_states(self, height: int) -> None:
        """Drop the overlays that a final block has settled."""
        self.states = {h: state for h, state in self.states.items() if state.height > height}

    def _get_node(self, authority: int) -> int:
        return self.world.keys.index(self.machine.committee.get_key(authority))


def get_epoch(message: Message) -> int:
    """Return the epoch that a message speaks of."""
    match message:
        case Proposal():
            return message.block.header.epoch
        case CertificateRequest():
            return message.epoch
        case _:
            return message.ballot.epoch
