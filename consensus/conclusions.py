"""What follows from what a node knows: the steps, always in one order (rules C7 to C13).

A step reads the whole state and may be taken at any time, so no input needs to know what another
one left open, and a repeated or late input changes nothing.
"""

from consensus.block_tree import FinalHead, Missing, closes_epoch
from consensus.effects import (
    Broadcast,
    Commit,
    RequestProposal,
    Send,
    SignProposal,
    StopReason,
)
from consensus.repetition import Repetition
from ledger.ballots import NO_BLOCK, VoteKind
from ledger.blocks import Block


class Conclusions(Repetition):
    """The steps of Simplex."""

    def _progress(self) -> None:
        steps = (
            self._commit_final,
            self._move_on,
            self._end_listening,
            self._take_hint,
            self._follow_notarized,
            self._finalize,
            self._judge_proposal,
            self._lead,
            self._nullify,
            self._resend,
            self._set_timers,
        )
        for step in steps:
            if self._is_stopped or self._is_between_epochs:
                return
            step()

    def _commit_final(self) -> None:
        # C10: a finalize certificate commits its block and every ancestor, lowest first.
        while (certificate := self.tree.finalization) is not None:
            path = self.tree.find_path(certificate.ballot.block_hash)
            if path.is_fork or (not path.blocks and path.missing is None):
                self._stop(StopReason.DIVERGED, "a final block beside our final chain")
                return
            if not self._is_ready(path, certificate, 1):
                return
            block_hash, block = path.blocks[0]
            committed = self.tree.make_commit(path, certificate)
            self._effects.append(Commit(committed, block_hash))
            self._is_from_range = False
            header = block.header
            self._advance(
                FinalHead(block_hash, header.height, header.view, certificate, closes_epoch(block))
            )
            if self._is_between_epochs:
                return

    def _end_listening(self) -> None:
        # C16: and a wiped authority votes in no earlier view than this one.
        end = self._compute_listening_end()
        if end is not None and self._now >= end:
            self._listening = None
            self._has_listened = True
            # Its timers begin only now, or its first vote would always be a nullify.
            self._pacing.entered_at = self._now
            self._woke_in = self.view
            if self._restored.is_wiped:
                self._first_view = max(self._first_view, self.view)

    def _move_on(self) -> None:
        # C7: any certificate of this view or a higher one, or f + 1 votes of a higher one.
        view = max(self.tree.highest_view + 1, self._keeper.compute_supported_view())
        if view <= self.view:
            return
        is_silent = self.view not in self.tree.proposals and self.view in self.tree.nullified
        leader = self._get_leader(self.view)
        if is_silent and leader != self._me:
            self._silent.on_silence(leader, self.view)
        self.view = view
        self._pacing.enter(self._now)
        self._resend_at = None
        self._missing = None
        self._keeper.prune(view)
        self._drop_proposals()
        certificate = self._get_entry_certificate()
        if self._me is not None and certificate is not None and self.committee.size > 1:
            leader = self._get_leader(view)
            is_mine = leader == self._me
            self._effects.append(Broadcast(certificate) if is_mine else Send(leader, certificate))

    def _drop_proposals(self) -> None:
        """Forget blocks of past views that were not notarized, by a quorum or by this node."""
        kept = {certificate.ballot.block_hash for certificate in self.tree.notarized.values()}
        for view in [view for view in self.tree.proposals if view < self.view - 1]:
            block_hash = self.tree.proposals[view].block_hash
            is_own = self._own_ballots.get((view, VoteKind.NOTARIZE)) == block_hash
            if block_hash not in kept and not is_own:
                del self.tree.proposals[view]
                self.tree.blocks.pop(block_hash, None)

    def _take_hint(self) -> None:
        # C13: f + 1 that nullified the view know of work.
        if self._pacing.hinted_at is None and self._is_left(self.view):
            self._pacing.hinted_at = self._now

    def _follow_notarized(self) -> None:
        # C12: a notarized block is fetched and executed before it is needed as a parent.
        for view in sorted(self.tree.notarized, reverse=True):
            certificate = self.tree.notarized[view]
            path = self.tree.find_path(certificate.ballot.block_hash)
            if path.is_fork or self._is_ready(path, certificate, len(path.blocks)):
                return
            if view not in self.tree.nullified:
                return

    def _finalize(self) -> None:
        # C10: whoever sees a notarization and did not nullify the view votes to finalize it.
        certificate = self.tree.get_top_notarization()
        if certificate is not None:
            ballot = certificate.ballot
            if (ballot.view, VoteKind.NULLIFY) not in self._own_ballots:
                self._vote(VoteKind.FINALIZE, ballot.view, ballot.block_hash)

    def _judge_proposal(self) -> None:
        # C9: the first proposal of the view, if it follows from certificates and executes.
        verified = self.tree.proposals.get(self.view)
        if verified is None:
            return
        if self._pacing.proposed_at is None:
            self._pacing.proposed_at = self._now
        proposal, block_hash = verified.proposal, verified.block_hash
        is_over = (self.view, VoteKind.NULLIFY) in self._own_ballots
        if is_over or not self._may_vote(VoteKind.NOTARIZE, self.view):
            return
        missing = self.tree.find_unjustified(proposal)
        if missing is not None:
            self._ask(missing)
        elif not self.tree.is_built_on_parent(proposal):
            self._refused.add(block_hash)
        elif block_hash in self.tree.executed:
            self._vote(VoteKind.NOTARIZE, self.view, block_hash, proposal)
        elif block_hash not in self._refused:
            self._execute(proposal.block, block_hash)

    def _execute(self, block: Block, block_hash: bytes) -> None:
        """Have a justified proposal executed, after the parents that it needs."""
        header = block.header
        if self.tree.is_executed(header.parent):
            self._validate(block_hash, block, is_certified=False)
        elif header.parent_view in self.tree.notarized:
            path = self.tree.find_path(header.parent)
            certificate = self.tree.notarized[header.parent_view]
            if not path.is_fork:
                self._is_ready(path, certificate, len(path.blocks))

    def _lead(self) -> None:
        # C8 and C13: propose once work waits, the interval is over and the parent is settled.
        if self._me != self._get_leader(self.view):
            return
        if self._listening is not None or self.view < self._first_view:
            return
        is_over = (self.view, VoteKind.NULLIFY) in self._own_ballots
        if is_over or self._is_proposing() or self._now < self._compute_turn():
            return
        parent = self.tree.find_parent(self.view)
        if isinstance(parent, Missing):
            self._ask(parent)
        elif parent is not None and parent.closing is not None:
            # C17: the epoch's last block has no child in it; it is proposed again until final.
            self._own_proposals[self.view] = parent.block_hash
            self._effects.append(SignProposal(self.view, parent.closing, parent.block_hash))
        elif parent is not None:
            self._request = RequestProposal(
                self.view,
                self.committee.epoch,
                parent.height + 1,
                parent.block_hash,
                parent.view,
            )
            self._effects.append(self._request)

    def _nullify(self) -> None:
        # C13: too late, refused or not to be built.
        if (self.view, VoteKind.FINALIZE) in self._own_ballots:
            return
        verified = self.tree.proposals.get(self.view)
        is_refused = verified is not None and self._is_refused(verified.block_hash)
        deadlines = self._compute_deadlines().values()
        is_late = any(self._now >= deadline for deadline in deadlines)
        # C16: who wakes in a view that others wait to leave has nothing to wait for.
        is_left = verified is None and self.view == self._woke_in and self._is_left(self.view)
        if is_refused or is_late or is_left or self._failed_view == self.view:
            self._vote(VoteKind.NULLIFY, self.view, NO_BLOCK)

    def _is_refused(self, block_hash: bytes) -> bool:
        return block_hash in self._refused and block_hash not in self.tree.executed
