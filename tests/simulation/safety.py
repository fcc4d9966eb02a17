"""What must hold at every instant of a run, whatever fails: the safety checker.

It sees the wire, the disks and the commits, and knows nothing of how nodes decide.
"""

from consensus.evidence import Evidence, verify_evidence
from consensus.journal import SignedVote, decode_journal
from consensus.messages import CommittedBlock, Message, Proposal, Vote
from consensus.verification import verify_committed
from ledger.ballots import Ballot, is_conflict
from ledger.blocks import Block, compute_header_hash
from ledger.rejection import Rejected
from tests.simulation.node import SimulatedNode
from tests.simulation.world import CHAIN_ID, GENESIS_HASH, World, get_done, get_evidence_epoch


class Violation(AssertionError):
    """A property did not hold."""


class SafetyChecker:
    """One run's record of what must never change."""

    def __init__(self, world: World, honest: frozenset[int], forgetful: frozenset[int]) -> None:
        self._world = world
        self._honest = honest
        self._forgetful = forgetful
        """Nodes that were wiped, or copied: they count as faulty in what their keys sign, not in
        what they keep."""
        self._chain: dict[int, bytes] = {0: GENESIS_HASH}
        self._ballots: dict[tuple[int, int, int], list[tuple[int, Ballot]]] = {}
        self._proposals: dict[tuple[int, int, int], bytes] = {}
        self._proposed_at: dict[bytes, int] = {}
        self._done = 0
        self.committed = 0
        self.convicted: set[bytes] = set()
        self.contradicted: set[int] = set()
        """Forgetful nodes whose votes contradicted each other."""

    def on_commit(self, node: SimulatedNode, committed: CommittedBlock) -> None:
        """One chain, in order, each block provably final and its outcome valid."""
        if node.index not in self._honest:
            return
        header = committed.block.header
        block_hash = compute_header_hash(header)
        if len(node.store.committed) != header.height:
            raise Violation(f"node {node.index} commits height {header.height} out of order")
        if self._chain.setdefault(header.height, block_hash) != block_hash:
            raise Violation(f"two final blocks of height {header.height}")
        if self._chain[header.height - 1] != header.parent:
            raise Violation(f"the final block {header.height} has another parent")
        try:
            verify_committed(committed, self._world.committees[header.epoch])
        except Rejected as error:
            raise Violation(f"height {header.height}: {error}") from None
        if header.height > self.committed:
            if get_done(committed.block) < self._done:
                raise Violation(f"height {header.height} undoes work")
            self._done = get_done(committed.block)
            self.committed = header.height

    def on_sent(self, node: SimulatedNode, message: Message, now: int) -> None:
        """An honest key never contradicts itself, and signs durably first."""
        if node.index not in self._honest:
            return
        if isinstance(message, Vote):
            self._check_vote(node, message)
        elif isinstance(message, Proposal):
            header = message.block.header
            key = (node.index, header.epoch, message.view)
            block_hash = compute_header_hash(header)
            is_first = key not in self._proposals
            if self._proposals.setdefault(key, block_hash) != block_hash:
                if node.index not in self._forgetful:
                    raise Violation(f"node {node.index} proposes twice in view {message.view}")
            if is_first and message.view == header.view:
                self._check_interval(node, message.block, now)

    def _check_vote(self, node: SimulatedNode, vote: Vote) -> None:
        ballot = vote.ballot
        cast = self._ballots.setdefault((node.index, ballot.epoch, ballot.view), [])
        if (node.place, ballot) in cast:
            return
        if any(is_conflict(other, ballot) for _, other in cast):
            if node.index not in self._forgetful:
                raise Violation(f"node {node.index} casts {ballot} after {cast}")
            self.contradicted.add(node.index)
        cast.append((node.place, ballot))
        journal = decode_journal(node.host.disk.durable, CHAIN_ID, node.key)
        entries = () if journal is None else reversed(journal.entries)
        if not any(isinstance(entry, SignedVote) and entry.vote == vote for entry in entries):
            raise Violation(f"node {node.index} sends a vote that is not durable")

    def _check_interval(self, node: SimulatedNode, block: Block, now: int) -> None:
        """A child is proposed one interval after its parent (a lone authority's start aside)."""
        self._proposed_at[compute_header_hash(block.header)] = now
        parent_at = self._proposed_at.get(block.header.parent, 0)
        if parent_at <= node.started_at and node.machine.committee.size == 1:
            return
        if now - parent_at < node.timing.block_interval:
            height = block.header.height
            raise Violation(f"height {height} proposed {now - parent_at} ms after its parent")

    def on_evidence(self, evidence: Evidence) -> None:
        """Evidence holds, and never against an honest key."""
        try:
            offence = verify_evidence(
                evidence, self._world.committees[get_evidence_epoch(evidence)]
            )
        except Rejected as error:
            raise Violation(f"evidence that proves nothing: {error}") from None
        offender = self._world.keys.index(offence.offender)
        if offender in self._honest - self._forgetful:
            raise Violation(f"evidence against the honest node {offender}")
        self.convicted.add(offence.offender)
