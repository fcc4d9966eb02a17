"""What all nodes of a simulation share: keys, the plan of the authority sets, the rules of a block.

The stand-in for the ledger: a block carries the number of work items done so far in its state
root, and in its transactions the evidence that convicts authorities. Its outcome is valid if it
undoes no work and convicts nobody without proof. As in the ledger (rules A2 and A6), whoever is
convicted in one block is left out by the next, which closes the epoch.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from consensus.evidence import Evidence, VoteEvidence, build_evidence_payload
from consensus.messages import Message
from consensus.verification import Committee, VerifiedMessage
from ledger.ballots import find_fault
from ledger.blocks import (
    BLOCK_VERSION,
    Authority,
    AuthoritySet,
    Block,
    Header,
    compute_authorities_hash,
    compute_transactions_root,
)
from ledger.parameters import Parameters
from ledger.transactions import TRANSACTION_VERSION, EquivocationEvidence, Transaction
from tests.simulation.code import MessageCheck
from tests.simulation.signing import ED25519, Scheme

GENESIS_HASH = sha256(b"genesis of a simulation").digest()
CHAIN_ID = sha256(b"chain of a simulation").digest()
START_TIME = 1_700_000_000_000
"""The wall clock at the beginning of a run, in ms."""
CLOCK_TOLERANCE = Parameters().clock_tolerance


def compute_state_root(parent: bytes, done: int) -> bytes:
    """Return the simulated state root: the number of items done, bound to the parent."""
    number = done.to_bytes(8, "big")
    return number + sha256(parent + number).digest()[:24]


def get_done(block: Block) -> int:
    """Return the number of items done after a block."""
    return int.from_bytes(block.header.state_root[:8], "big")


def get_evidence_epoch(evidence: Evidence) -> int:
    """Return the epoch of an offence."""
    if isinstance(evidence, VoteEvidence):
        return evidence.first.ballot.epoch
    return evidence.first.header.epoch


@dataclass(frozen=True)
class State:
    """What a block leaves behind for its child."""

    height: int
    time: int
    done: int
    authorities: AuthoritySet
    """The set of the next block."""
    members: tuple[int, ...]
    """The nodes of that set, in the order of turns."""
    convicted: frozenset[int] = frozenset()


@dataclass
class World:
    """The fixed facts of one run."""

    scheme: Scheme
    seeds: tuple[bytes, ...]
    plan: tuple[tuple[int, ...], ...]
    """Nodes of each planned authority set."""
    closing_heights: tuple[int, ...]
    """Height of the last block of each planned set but the last."""
    verify: MessageCheck
    committees: list[Committee] = field(default_factory=list)
    """Of every epoch that a final block has opened at some node."""
    keys: tuple[bytes, ...] = ()
    _sets: dict[tuple[int, tuple[int, ...]], AuthoritySet] = field(default_factory=dict)
    _proved: dict[EquivocationEvidence, int] = field(default_factory=dict)
    _verified: dict[tuple[int, int], tuple[Message, VerifiedMessage]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = tuple(self.scheme.compute_public_key(seed) for seed in self.seeds)
        first = self.plan[0]
        self.genesis = State(0, START_TIME, 0, self._make_set(0, first), first)
        self.open_epoch(self.genesis)

    def open_epoch(self, state: State) -> Committee:
        """Return the committee of the block after a final one; everybody must open the same."""
        authorities = state.authorities
        if authorities.epoch == len(self.committees):
            committee = Committee(CHAIN_ID, authorities, self.scheme.is_valid)
            self.committees.append(committee)
        committee = self.committees[authorities.epoch]
        assert committee.authorities == authorities, f"two sets of epoch {authorities.epoch}"
        return committee

    def check(self, message: Message, epoch: int) -> VerifiedMessage:
        """Verify as a driver does; the same object is verified once for all nodes.

        Raises `Rejected`.
        """
        key = (id(message), epoch)
        if key not in self._verified:
            self._verified[key] = (message, self.verify(message, self.committees[epoch]))
        return self._verified[key][1]

    def prove(self, evidence: Evidence) -> EquivocationEvidence:
        """Return the payload that convicts the offender. Raises `Rejected`."""
        payload = build_evidence_payload(evidence, self.committees[get_evidence_epoch(evidence)])
        if self.scheme is ED25519:
            assert find_fault(payload.conflict, payload.offender, CHAIN_ID) is not None
        self._proved[payload] = self.keys.index(payload.offender)
        return payload

    def get_offender(self, payload: EquivocationEvidence) -> int:
        """Return the node that a proved payload convicts."""
        return self._proved[payload]

    def build(
        self,
        parent: State,
        place: tuple[int, bytes, int],
        time: int,
        done: int,
        evidence: tuple[EquivocationEvidence, ...] = (),
    ) -> Block:
        """Return the block of a leader; `place` is its view, its parent's hash and view."""
        view, parent_hash, parent_view = place
        transactions = tuple(
            Transaction(TRANSACTION_VERSION, bytes(32), 0, 0, 0, payload, bytes(64))
            for payload in evidence
        )
        members = parent.authorities.members
        header = Header(
            BLOCK_VERSION,
            CHAIN_ID,
            parent.authorities.epoch,
            parent.height + 1,
            view,
            parent_view,
            max(parent.time + 1, time),
            parent_hash,
            members[view % len(members)].key,
            compute_transactions_root(transactions),
            bytes(32),
            compute_state_root(parent_hash, max(done, parent.done)),
            compute_authorities_hash(parent.authorities),
            compute_authorities_hash(self._find_following(parent)[1]),
        )
        return Block(header, transactions)

    def execute(self, block: Block, parent: State) -> State | None:
        """Return the state after a block on `parent`, `None` where its outcome is false."""
        header, done = block.header, get_done(block)
        if header.height != parent.height + 1 or header.time <= parent.time:
            return None
        if done < parent.done or header.state_root != compute_state_root(header.parent, done):
            return None
        convicted = set(parent.convicted)
        for transaction in block.transactions:
            payload = transaction.payload
            if not isinstance(payload, EquivocationEvidence) or payload not in self._proved:
                return None
            offender = self._proved[payload]
            if offender in convicted:
                return None
            convicted.add(offender)
        members, following = self._find_following(parent)
        if header.next_authorities != compute_authorities_hash(following):
            return None
        return State(header.height, header.time, done, following, members, frozenset(convicted))

    def _find_following(self, parent: State) -> tuple[tuple[int, ...], AuthoritySet]:
        """Return the members and the set after the block on `parent`."""
        height, epoch = parent.height + 1, parent.authorities.epoch
        planned = self.plan[sum(height >= closing for closing in self.closing_heights)]
        members = tuple(node for node in planned if node not in parent.convicted)
        if not members or (members == parent.members and height not in self.closing_heights):
            return parent.members, parent.authorities
        return members, self._make_set(epoch + 1, members)

    def _make_set(self, epoch: int, members: tuple[int, ...]) -> AuthoritySet:
        if (epoch, members) not in self._sets:
            authorities = tuple(Authority(self.keys[node], bytes(20)) for node in members)
            self._sets[(epoch, members)] = AuthoritySet(epoch, authorities)
        return self._sets[(epoch, members)]
