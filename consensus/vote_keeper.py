"""The votes of the views in play: they are counted once, become certificates, and convict.

Rules C3, C7 and C18. Memory is bounded: one vote for each view, kind and signer, in a window of
views around the current one; for views beyond it only each signer's highest view is kept. A node
that jumps over many views keeps the votes of those that it was in: they may convict.
"""

from msgspec import Struct

from consensus.evidence import VoteEvidence
from consensus.messages import Certificate, Vote
from ledger.ballots import Ballot, VoteKind, is_conflict
from ledger.quorum import compute_fault_bound, compute_quorum

VIEW_WINDOW = 32
"""Views below and above the current one whose votes are kept."""


class Counted(Struct, frozen=True):
    """What a vote changed: the certificate that it completed, the evidence that it gave."""

    is_new: bool
    certificate: Certificate | None = None
    evidence: VoteEvidence | None = None


class VoteKeeper:
    """Votes of one epoch of `size` authorities."""

    def __init__(self, size: int) -> None:
        self._quorum = compute_quorum(size)
        self._fault_bound = compute_fault_bound(size)
        self._votes: dict[int, dict[tuple[VoteKind, int], Vote]] = {}
        self._counts: dict[Ballot, dict[int, bytes]] = {}
        self._highest = [0] * size

    def add(self, vote: Vote, view: int) -> Counted:
        """Count a verified vote while the node is in `view`."""
        ballot = vote.ballot
        self._highest[vote.signer] = max(self._highest[vote.signer], ballot.view)
        if abs(ballot.view - view) > VIEW_WINDOW and ballot.view not in self._votes:
            return Counted(False)
        votes = self._votes.setdefault(ballot.view, {})
        known = votes.get((ballot.kind, vote.signer))
        if known is not None:
            if known.ballot.block_hash == ballot.block_hash:
                return Counted(False)
            return Counted(False, evidence=VoteEvidence(known, vote))
        votes[(ballot.kind, vote.signer)] = vote
        count = self._counts.setdefault(ballot, {})
        count[vote.signer] = vote.signature
        certificate = None
        if len(count) == self._quorum:
            signers = tuple(sorted(count))
            signatures = tuple(count[signer] for signer in signers)
            certificate = Certificate(ballot, signers, signatures)
        return Counted(True, certificate, self._find_conflict(vote, votes))

    def get_vote(self, view: int, kind: VoteKind, signer: int) -> Vote | None:
        """Return the kept vote of a signer."""
        return self._votes.get(view, {}).get((kind, signer))

    def get_signers(self, ballot: Ballot) -> tuple[int, ...]:
        """Return who cast a ballot."""
        return tuple(sorted(self._counts.get(ballot, ())))

    def is_said_by_honest(self, ballot: Ballot) -> bool:
        """Tell whether f + 1 cast a ballot, so that one of them is honest."""
        return len(self._counts.get(ballot, ())) > self._fault_bound

    def compute_supported_view(self) -> int:
        """Return the highest view that f + 1 authorities have reached, by their votes."""
        return sorted(self._highest, reverse=True)[self._fault_bound]

    def prune(self, view: int) -> None:
        """Forget the votes of all views below `view` but the newest that any were cast in."""
        for old in sorted(known for known in self._votes if known < view)[:-VIEW_WINDOW]:
            del self._votes[old]
        for ballot in [ballot for ballot in self._counts if ballot.view not in self._votes]:
            del self._counts[ballot]

    def _find_conflict(
        self, vote: Vote, votes: dict[tuple[VoteKind, int], Vote]
    ) -> VoteEvidence | None:
        for kind in VoteKind:
            other = votes.get((kind, vote.signer))
            if other is not None and is_conflict(other.ballot, vote.ballot):
                return VoteEvidence(other, vote)
        return None
