"""What a node remembers of the epoch in play, and the few ways in which it acts on that.

Rules C11 (own ballots), C12 (missing blocks and certificates) and C16 (the first view).
"""

from consensus.block_tree import BlockTree, FinalHead, Missing, Path
from consensus.effects import (
    CatchUp,
    Effect,
    FetchBlock,
    ReportEvidence,
    RequestProposal,
    Send,
    SignVote,
    Stop,
    StopReason,
    Timer,
    ValidateBlock,
)
from consensus.leader import SilentLeaders, get_leader
from consensus.messages import MAX_REQUESTED_VIEWS, Certificate, CertificateRequest, Proposal, Vote
from consensus.pacing import Listening, Pacing
from consensus.restored import Restored
from consensus.timing import Timing
from consensus.verification import Committee
from consensus.vote_keeper import VoteKeeper
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block

CATCH_UP_DISTANCE = 16
"""From this many missing blocks on they are fetched in ranges, not one by one."""


class Memory:
    """The state of one node."""

    def __init__(
        self, committee: Committee, key: bytes | None, timing: Timing, restored: Restored
    ) -> None:
        self.committee = committee
        self.tree = BlockTree(restored.head)
        self.view = restored.head.view + 1
        self._key = key
        self._timing = timing
        self._restored = restored
        self._first_epoch = committee.epoch
        self._now = 0
        self._effects: list[Effect] = []
        self._is_stopped = False
        self._is_between_epochs = restored.head.closes_epoch
        self._listening: Listening | None = None
        self._has_listened = False
        self._pacing = Pacing(timing, 0, 0)
        self._caught_up_at: int | None = None
        self._has_signed = False
        self._is_from_range = False
        """Whether the final head came by catching up, not by votes."""
        self._begin_epoch(committee)
        self._first_view = restored.first_view

    def _begin_epoch(self, committee: Committee) -> None:
        self.committee = committee
        self._me = committee.get_index(self._key)
        self._keeper = VoteKeeper(committee.size)
        self._silent = SilentLeaders()
        self._own_ballots: dict[tuple[int, VoteKind], bytes] = {}
        self._own_votes: dict[tuple[int, VoteKind], Vote] = {}
        self._own_proposals: dict[int, bytes] = {}
        self._refused: set[bytes] = set()
        self._validating: set[tuple[bytes, bool]] = set()
        self._wanted: dict[bytes, tuple[int, ...]] = {}
        self._convicted: set[tuple[int, int]] = set()
        self._answered_at: dict[int, int] = {}
        self._missing: Missing | None = None
        self._asked = 0
        self._request: RequestProposal | None = None
        self._failed_view: int | None = None
        self._resend_at: int | None = None
        self._timers: dict[Timer, int] = {}
        self._first_view = 0
        """First view that this node may vote in (rule C16)."""
        self._woke_in = 0
        """The view in which this node stopped listening."""

    def _advance(self, head: FinalHead) -> None:
        self.tree.advance(head)
        if not self.tree.notarized:
            self._pacing.parent_final_at = self._now
        self._is_between_epochs = head.closes_epoch
        view = head.view
        self._own_ballots = {k: v for k, v in self._own_ballots.items() if k[0] > view}
        self._own_votes = {k: v for k, v in self._own_votes.items() if k[0] > view}
        self._own_proposals = {k: v for k, v in self._own_proposals.items() if k > view}
        self._refused &= self.tree.blocks.keys()
        self._validating = {k for k in self._validating if k[0] in self.tree.blocks}
        self._wanted = {}

    def _is_ready(self, path: Path, certificate: Certificate, executed: int) -> bool:
        """Tell whether the lowest blocks of a certified path are executed; else ask for it."""
        if path.missing is not None:
            tip = path.blocks[-1][1].header.height if path.blocks else 0
            lowest = path.blocks[0][1].header.height if path.blocks else 0
            if lowest - self.tree.final.height > CATCH_UP_DISTANCE:
                self._want_range(tip)
            else:
                self._want(path.missing, certificate.signers)
            return False
        for block_hash, block in path.blocks[:executed]:
            if block_hash not in self.tree.executed:
                self._validate(block_hash, block, is_certified=True)
                return False
        return True

    def _add_block(self, block_hash: bytes, block: Block) -> None:
        self.tree.blocks[block_hash] = block
        self._wanted.pop(block_hash, None)

    def _get_leader(self, view: int) -> int:
        return get_leader(view, self.committee.size)

    def _want(self, block_hash: bytes, holders: tuple[int, ...]) -> None:
        if block_hash not in self._wanted:
            self._wanted[block_hash] = holders
            self._effects.append(FetchBlock(block_hash, holders))

    def _want_range(self, height: int) -> None:
        if self._caught_up_at is None or self._now >= self._caught_up_at + self._timing.delta:
            self._caught_up_at = self._now
            self._effects.append(CatchUp(height))

    def _validate(self, block_hash: bytes, block: Block, is_certified: bool) -> None:
        if (block_hash, is_certified) not in self._validating:
            self._validating.add((block_hash, is_certified))
            self._effects.append(ValidateBlock(block, block_hash, is_certified))

    def _get_entry_certificate(self) -> Certificate | None:
        earlier = self.view - 1
        final = self.tree.final
        return (
            self.tree.notarized.get(earlier)
            or self.tree.nullified.get(earlier)
            or (final.certificate if final.view == earlier else None)
        )

    def _may_vote(self, kind: VoteKind, view: int) -> bool:
        if self._me is None or self._listening is not None or view < self._first_view:
            return False
        return (view, kind) not in self._own_ballots

    def _vote(
        self, kind: VoteKind, view: int, block_hash: bytes, proposal: Proposal | None = None
    ) -> None:
        if self._may_vote(kind, view):
            self._has_signed = True
            self._own_ballots[(view, kind)] = block_hash
            ballot = Ballot(kind, self.committee.epoch, view, block_hash)
            self._effects.append(SignVote(ballot, proposal))

    def _is_foreign(self, ballot: Ballot) -> bool:
        """Tell whether our key cast what this node never did (rule C11)."""
        if self._listening is not None and not self._restored.is_wiped:
            return self._is_unknown(ballot)
        if ballot.view < self._first_view or ballot.view <= self.tree.final.view:
            return False
        if self._own_ballots.get((ballot.view, ballot.kind)) == ballot.block_hash:
            return False
        if self._restored.is_wiped:
            # What it signed before it forgot comes back; in such a view it votes no more.
            is_new = self._listening is not None or not self._has_signed
            if is_new or ballot.view <= self._woke_in:
                self._first_view = ballot.view + 1
                return False
        return True

    def _is_unknown(self, ballot: Ballot) -> bool:
        """Tell whether the journal lacks a ballot above the head that this process began with."""
        restored = self._restored
        is_old = ballot.epoch == self._first_epoch and ballot.view <= restored.head.view
        return not is_old and all(vote.ballot != ballot for vote in restored.votes)

    def _ask(self, missing: Missing) -> None:
        if missing != self._missing:
            self._missing = missing
            self._send_request(missing)

    def _send_request(self, missing: Missing) -> None:
        last = min(missing.last_view, missing.first_view + MAX_REQUESTED_VIEWS - 1)
        request = CertificateRequest(self.committee.epoch, missing.first_view, last)
        others = [index for index in range(self.committee.size) if index != self._me]
        if others:
            self._asked += 1
            self._effects.append(Send(others[self._asked % len(others)], request))

    def _convict(self, view: int, offender: int, report: ReportEvidence) -> None:
        if (view, offender) not in self._convicted:
            self._convicted.add((view, offender))
            self._effects.append(report)

    def _stop(self, reason: StopReason, detail: str) -> None:
        self._is_stopped = True
        self._effects.append(Stop(reason, detail))
