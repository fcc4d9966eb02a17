"""When things are due, and what is said again until it is heard (rules C13 and C14)."""

from consensus.effects import Broadcast, FetchBlock, Send, SetTimer, Timer
from consensus.memory import Memory
from consensus.messages import Message
from ledger.ballots import NO_BLOCK, Ballot, VoteKind

STUCK_AFTER = 6
"""So many deltas in one view with something open, and a node also asks for final blocks."""


class Repetition(Memory):
    """Deadlines, timers and the repetition of messages."""

    def _compute_deadlines(self) -> dict[Timer, int]:
        """Return when this view is nullified, by the leader's and by the view's timer."""
        deadlines: dict[Timer, int] = {}
        if not self._may_vote(VoteKind.NULLIFY, self.view):
            return deadlines
        leader = self._get_leader(self.view)
        if self.view not in self.tree.proposals and not self._is_proposing():
            is_silent = self._silent.is_silent(leader)
            deadlines[Timer.LEADER] = self._pacing.compute_leader_deadline(is_silent)
        if self.committee.size > 1:
            # Nobody else could take the turn of a lone authority whose block takes long.
            deadlines[Timer.VIEW] = self._pacing.compute_view_deadline()
        return deadlines

    def _compute_listening_end(self) -> int | None:
        if self._listening is None:
            return None
        return self._listening.compute_end(self.view, self.tree.final.height)

    def _compute_turn(self) -> int:
        """Return when this node proposes, as the leader of its view."""
        top = self.tree.get_top_notarization()
        is_left = top is not None and self._is_left(top.ballot.view)
        return self._pacing.compute_due(is_parent_left=is_left)

    def _is_left(self, view: int) -> bool:
        """Tell whether f + 1 nullified a view: then it may never be final by itself."""
        ballot = Ballot(VoteKind.NULLIFY, self.committee.epoch, view, NO_BLOCK)
        return self._keeper.is_said_by_honest(ballot)

    def _is_proposing(self) -> bool:
        """Tell whether this node is at its own proposal for the view."""
        is_building = self._request is not None and self._request.view == self.view
        return is_building or self.view in self._own_proposals

    def _resend(self) -> None:
        # C14: lost messages are made good by repetition while anything is open.
        is_open = (
            bool(self.tree.notarized)
            or self.tree.finalization is not None
            or self.view in self.tree.proposals
            or (self.view, VoteKind.NULLIFY) in self._own_ballots
            or self._now >= self._pacing.compute_due()
        )
        if not is_open:
            self._resend_at = None
        elif self._resend_at is None:
            self._resend_at = self._now + self._timing.delta
        elif self._now >= self._resend_at:
            self._resend_at = self._now + self._timing.delta
            self._send_again()

    def _send_again(self) -> None:
        for block_hash, holders in self._wanted.items():
            self._effects.append(FetchBlock(block_hash, holders))
        # C14: in a later epoch nobody hears these votes, and an observer has none.
        is_stuck = self._now >= self._pacing.entered_at + STUCK_AFTER * self._timing.delta
        if self._me is None or (is_stuck and self.committee.size > 1):
            self._want_range(self.tree.final.height + 1)
        if self._me is None:
            return
        top = self.tree.get_top_notarization()
        messages: list[Message] = []
        for certificate in (self._get_entry_certificate(), self.tree.finalization, top):
            if certificate is not None and certificate not in messages:
                messages.append(certificate)
        if self._listening is None:
            views = {self.view} if top is None else {self.view, top.ballot.view}
            messages += [vote for key, vote in self._own_votes.items() if key[0] in views]
            self._propose_again()
        self._effects += [Broadcast(message) for message in messages]
        if self._missing is not None:
            self._send_request(self._missing)

    def _propose_again(self) -> None:
        verified = self.tree.proposals.get(self.view)
        if verified is None or self.view not in self._own_proposals:
            return
        ballot = Ballot(VoteKind.NOTARIZE, self.committee.epoch, self.view, verified.block_hash)
        heard = self._keeper.get_signers(ballot)
        for authority in range(self.committee.size):
            if authority != self._me and authority not in heard:
                self._effects.append(Send(authority, verified.proposal))

    def _set_timers(self) -> None:
        wanted = self._compute_deadlines()
        if self._resend_at is not None:
            wanted[Timer.RESEND] = self._resend_at
        end = self._compute_listening_end()
        if end is not None:
            wanted[Timer.LISTEN] = end
        if self._me == self._get_leader(self.view):
            wanted[Timer.PROPOSE] = self._compute_turn()
        for timer, at in wanted.items():
            if at > self._now and self._timers.get(timer) != at:
                self._timers[timer] = at
                self._effects.append(SetTimer(timer, at))

    def _answer_laggard(self, authority: int, view: int) -> None:
        # C14: not at once, or every vote that comes after its quorum would draw an answer.
        delta = self._timing.delta
        last = self._answered_at.get(authority, self._now - delta)
        if self._now < self._pacing.entered_at + delta or self._now < last + delta:
            return
        self._answered_at[authority] = self._now
        final = self.tree.final
        certificate = final.certificate if view <= final.view else self._get_entry_certificate()
        if certificate is not None:
            self._effects.append(Send(authority, certificate))
