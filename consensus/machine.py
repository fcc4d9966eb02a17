"""Simplex as a state machine: from each input and the state follow effects (rules C6 to C18).

It never signs, waits, reads a clock or touches a disk. The arms take in what is new; the steps of
`Conclusions` then draw every conclusion.
"""

from typing import assert_never

from consensus import inputs
from consensus.block_tree import BlockTree, FinalHead
from consensus.conclusions import Conclusions
from consensus.effects import (
    Effect,
    JournalCertificate,
    ReportEvidence,
    RequestProposal,
    Send,
    SignProposal,
    StopReason,
)
from consensus.evidence import make_proposal_evidence
from consensus.messages import (
    MAX_REQUESTED_VIEWS,
    Certificate,
    CertificateRequest,
    Message,
    Proposal,
    Vote,
)
from consensus.pacing import Listening, Pacing
from consensus.verification import Committee, VerifiedProposal
from ledger.ballots import VoteKind
from ledger.blocks import AuthoritySet, Block, compute_header_hash

PROPOSAL_WINDOW = 8
"""Views ahead of the current one whose proposals are kept."""


class Consensus(Conclusions):
    """One node's part in the agreement on each next block."""

    def handle(self, item: inputs.Input) -> tuple[Effect, ...]:
        """Take one input in; return what is to be done, in order."""
        self._effects = []
        if self._is_stopped:
            return ()
        self._now = max(self._now, item.now)
        self._take(item)
        self._progress()
        return tuple(self._effects)

    def is_useful(self, message: Message) -> bool:
        """Tell whether a message is worth verifying: asked by drivers before they do."""
        match message:
            case Vote(ballot, signer):
                known = self._keeper.get_vote(ballot.view, ballot.kind, signer)
                return known is None or known.ballot != ballot or ballot.view < self.view
            case Proposal(view):
                known_proposal = self.tree.proposals.get(view)
                return view > self.tree.final.view and (
                    known_proposal is None or known_proposal.proposal != message
                )
            case Certificate(ballot):
                return self.tree.is_wanted(ballot.kind, ballot.view)
            case CertificateRequest():
                return True
            case _:
                assert_never(message)

    def list_own_votes(self) -> tuple[Vote, ...]:
        """Return what this node has voted in views that are not final here."""
        return tuple(self._own_votes.values())

    def get_block(self, block_hash: bytes) -> Block | None:
        """Return a block above the final head, to serve it to a peer (rule C12)."""
        return self.tree.blocks.get(block_hash)

    def _take(self, item: inputs.Input) -> None:
        match item:
            case inputs.Started(_, is_connected):  # C16
                self._on_started(is_connected)
            case inputs.Connected():  # C16
                if self._listening is not None:
                    self._listening.begin(self._now)
                self._has_listened = self._has_listened or self._me is None
            case inputs.TimerFired(_, timer):  # C13 and C14: due is what `now` says
                self._timers.pop(timer, None)
            case inputs.VoteReceived(_, verified):  # C3
                self._on_vote(verified.vote)
            case inputs.ProposalReceived(_, proposal):  # C9
                self._on_proposal(proposal)
            case inputs.CertificateReceived(_, verified_certificate):  # C4 and C7
                self._on_certificate(verified_certificate.certificate)
            case inputs.CertificatesRequested(_, authority, checked):  # C12
                self._on_request(authority, checked.request)
            case inputs.BlockReceived(_, block):  # C12
                if block.block_hash in self._wanted:
                    self._add_block(block.block_hash, block.block)
            case inputs.ProposalBuilt(_, view, built):  # C8
                self._on_built(view, built)
            case inputs.BlockValidated(_, block_hash, is_valid, is_certified):  # C9 and C12
                self._on_validated(block_hash, is_valid, is_certified)
            case inputs.WorkKnown(_, is_pending):  # C13
                self._pacing.on_work(self._now, is_pending)
            case inputs.ChainAdvanced(_, head):  # C12
                if head.height > self.tree.final.height:
                    self._pacing.last_block_at = self._now
                    self._is_from_range = True
                    epoch = self.committee.epoch
                    self._advance(head)
                    # C18: what was final elsewhere convicts, and is no certificate to keep.
                    certificate = head.certificate
                    if certificate is not None and certificate.ballot.epoch == epoch:
                        self._count_signers(certificate)
            case inputs.EpochOpened(_, authorities):  # C17
                self._on_epoch(authorities)
            case _:
                assert_never(item)

    def _on_started(self, is_connected: bool) -> None:
        # C16: a lone authority produces at once, one of several first listens.
        is_alone = self._me is not None and self.committee.size == 1
        last_block_at = self._now - (self._timing.heartbeat if is_alone else 0)
        is_pending = self._pacing.work_since is not None
        self._pacing = Pacing(self._timing, self._now, last_block_at)
        self._pacing.on_work(self._now, is_pending)
        self._listen(is_connected)
        for proposal in self._restored.proposals:
            self._restore_proposal(proposal)
        for certificate in self._restored.certificates:
            self.tree.add_certificate(certificate)
        highest = self.tree.highest_view + 1
        for vote in self._restored.votes:
            ballot = vote.ballot
            if ballot.epoch == self.committee.epoch and ballot.view > self.tree.final.view:
                self._own_ballots[(ballot.view, ballot.kind)] = ballot.block_hash
                self._own_votes[(ballot.view, ballot.kind)] = vote
                highest = max(highest, ballot.view)
        self.view = max(self.view, highest)
        for vote in self._own_votes.values():
            self._count(vote)

    def _restore_proposal(self, proposal: VerifiedProposal) -> None:
        epoch, view = proposal.proposal.block.header.epoch, proposal.proposal.view
        if epoch != self.committee.epoch or view <= self.tree.final.view:
            return
        self._add_block(proposal.block_hash, proposal.proposal.block)
        self.tree.proposals[view] = proposal
        if self._get_leader(view) == self._me:
            self._own_proposals[view] = proposal.block_hash
            self.view = max(self.view, view)

    def _on_vote(self, vote: Vote) -> None:
        ballot = vote.ballot
        if ballot.epoch != self.committee.epoch or self._is_between_epochs:
            return
        if vote.signer == self._me:
            if self._is_foreign(ballot):
                self._stop(StopReason.OWN_KEY_ELSEWHERE, str(ballot))
                return
            if self._own_ballots.get((ballot.view, ballot.kind)) == ballot.block_hash:
                self._own_votes.setdefault((ballot.view, ballot.kind), vote)
        elif ballot.view < self.view:
            self._answer_laggard(vote.signer, ballot.view)
        if self._listening is not None:
            self._listening.hear(self._now, ballot.view)
        self._count(vote)

    def _count(self, vote: Vote) -> None:
        counted = self._keeper.add(vote, self.view)
        if counted.evidence is not None:
            self._convict(vote.ballot.view, vote.signer, ReportEvidence(counted.evidence))
        if counted.certificate is not None:
            self._add_certificate(counted.certificate)

    def _on_proposal(self, verified: VerifiedProposal) -> None:
        header, view = verified.proposal.block.header, verified.proposal.view
        if header.epoch != self.committee.epoch or view <= self.tree.final.view:
            return
        if self._is_between_epochs or view > self.view + PROPOSAL_WINDOW:
            return
        leader = self._get_leader(view)
        if leader == self._me and self._own_proposals.get(view) != verified.block_hash:
            is_own_past = self._restored.is_wiped and self._listening is not None
            if view >= self._first_view and not is_own_past:
                self._stop(StopReason.OWN_KEY_ELSEWHERE, f"proposal of view {view}")
                return
        self._silent.on_proposal(leader, view)
        known = self.tree.proposals.get(view)
        if known is not None:
            if known.block_hash != verified.block_hash:
                evidence = make_proposal_evidence(known.proposal, verified.proposal)
                self._convict(view, leader, ReportEvidence(evidence))
            return
        if view >= self.view or verified.block_hash in self._wanted:
            self.tree.proposals[view] = verified
            self._add_block(verified.block_hash, verified.proposal.block)

    def _on_certificate(self, certificate: Certificate) -> None:
        ballot = certificate.ballot
        if ballot.epoch != self.committee.epoch or self._is_between_epochs:
            return
        if not self.tree.is_wanted(ballot.kind, ballot.view):
            return
        if self._me in certificate.signers and self._is_foreign(ballot):
            self._stop(StopReason.OWN_KEY_ELSEWHERE, str(ballot))
            return
        if self._listening is not None:
            self._listening.hear(self._now, ballot.view)
        self._add_certificate(certificate)
        self._count_signers(certificate)

    def _count_signers(self, certificate: Certificate) -> None:
        # C18: an offence often shows only between a certificate and a vote outside of it.
        for signer, signature in zip(certificate.signers, certificate.signatures, strict=True):
            self._count(Vote(certificate.ballot, signer, signature))

    def _add_certificate(self, certificate: Certificate) -> None:
        if not self.tree.add_certificate(certificate):
            return
        self._effects.append(JournalCertificate(certificate))
        ballot = certificate.ballot
        top = self.tree.get_top_notarization()
        if ballot.kind is VoteKind.NOTARIZE and top is certificate:
            self._pacing.parent_final_at = None
            self._keep_interval(ballot.view)
        elif ballot.kind is VoteKind.FINALIZE and (top is None or top.ballot.view < ballot.view):
            self._keep_interval(ballot.view)

    def _keep_interval(self, view: int) -> None:
        """Count the block interval from the proposal of the newest certified block (rule C13)."""
        proposed_at = self._pacing.proposed_at if view == self.view else None
        self._pacing.last_block_at = self._now if proposed_at is None else proposed_at

    def _on_request(self, authority: int, request: CertificateRequest) -> None:
        # C12: certificates are served from memory, a bounded number at a time.
        if request.epoch != self.committee.epoch or not 0 <= authority < self.committee.size:
            return
        final = self.tree.final
        if request.first_view <= final.view and final.certificate is not None:
            self._effects.append(Send(authority, final.certificate))
        first = max(request.first_view, final.view + 1)
        last = min(request.last_view, first + MAX_REQUESTED_VIEWS - 1, self.tree.highest_view)
        for view in range(first, last + 1):
            for kept in (self.tree.nullified, self.tree.notarized):
                if view in kept:
                    self._effects.append(Send(authority, kept[view]))

    def _on_built(self, view: int, block: Block | None) -> None:
        request = self._request
        if request is None or view != self.view or request.view != view:
            return
        if view in self._own_proposals or (view, VoteKind.NULLIFY) in self._own_ballots:
            return
        if block is None or not _is_requested(block, request):
            self._failed_view = view
            return
        block_hash = compute_header_hash(block.header)
        self._add_block(block_hash, block)
        self.tree.executed.add(block_hash)
        self._own_proposals[view] = block_hash
        self._effects.append(SignProposal(view, block, block_hash))

    def _on_validated(self, block_hash: bytes, is_valid: bool, is_certified: bool) -> None:
        if (block_hash, is_certified) not in self._validating:
            return
        self._validating.discard((block_hash, is_certified))
        if block_hash not in self.tree.blocks:
            return
        if is_valid:
            self.tree.executed.add(block_hash)
        elif is_certified:
            self._stop(StopReason.DIVERGED, f"block {block_hash.hex()} is certified and invalid")
        else:
            self._refused.add(block_hash)

    def _on_epoch(self, authorities: AuthoritySet) -> None:
        # C17: what the old set said about views above its last block is void.
        if not self._is_between_epochs or authorities.epoch != self.committee.epoch + 1:
            return
        committee = Committee(
            self.committee.chain_id, authorities, self.committee.is_valid_signature
        )
        self.tree = BlockTree(_open_epoch(self.tree.final))
        self.view = self.tree.final.view + 1
        self._is_between_epochs = False
        self._begin_epoch(committee)
        self._pacing.enter(self._now)
        self._pacing.parent_final_at = self._now
        # C16: of an epoch that it catches up into it has heard nobody, not even its own key.
        if self._me is None or self.committee.size == 1:
            self._listening = None
        elif self._is_from_range:
            self._listen(is_connected=self._listening is None or self._listening.has_begun)

    def _listen(self, is_connected: bool) -> None:
        # An observer in step cannot have voted in an epoch that has not begun yet.
        self._has_listened = self._has_listened or (self._me is None and is_connected)
        if self._me is not None and self.committee.size > 1:
            # Once it has listened, whatever its key signs is in this journal.
            is_wiped = self._restored.is_wiped and not self._has_listened
            self._listening = Listening(self._timing, is_wiped)
            if is_connected:
                self._listening.begin(self._now)


def _is_requested(block: Block, request: RequestProposal) -> bool:
    header = block.header
    return (header.view, header.epoch, header.height, header.parent, header.parent_view) == (
        request.view,
        request.epoch,
        request.height,
        request.parent,
        request.parent_view,
    )


def _open_epoch(head: FinalHead) -> FinalHead:
    # The certificate of the old epoch says nothing to anybody in the new one.
    return FinalHead(head.block_hash, head.height, head.view)
