"""Simplex as a state machine: from each input and the state follow effects (rules C6 to C18).

It never signs, waits, reads a clock or touches a disk. The arms of `handle` only take in what is
new; then the steps of `_progress`, always in one order, draw every conclusion. So no arm needs to
know what another one left open, and a repeated or late input changes nothing.
"""

from typing import assert_never

from consensus import inputs
from consensus.block_tree import BlockTree, FinalHead, Missing, Path, closes_epoch
from consensus.effects import (
    Broadcast,
    CatchUp,
    Commit,
    Effect,
    FetchBlock,
    JournalCertificate,
    ReportEvidence,
    RequestProposal,
    Send,
    SetTimer,
    SignProposal,
    SignVote,
    Stop,
    StopReason,
    Timer,
    ValidateBlock,
)
from consensus.evidence import make_proposal_evidence
from consensus.leader import SilentLeaders, get_leader
from consensus.messages import (
    MAX_REQUESTED_VIEWS,
    NO_BLOCK,
    Ballot,
    Certificate,
    CertificateRequest,
    Message,
    Proposal,
    Vote,
    VoteKind,
)
from consensus.pacing import Listening, Pacing
from consensus.restored import Restored
from consensus.timing import Timing
from consensus.verification import Committee, VerifiedProposal
from consensus.vote_keeper import VIEW_WINDOW, VoteKeeper
from ledger.blocks import AuthoritySet, Block, compute_header_hash

PROPOSAL_WINDOW = 8
"""Views ahead of the current one whose proposals are kept."""
CATCH_UP_DISTANCE = 16
"""From this many missing blocks on they are fetched in ranges, not one by one."""


class Consensus:
    """One node's part in the agreement on each next block.

    `key` is the node's consensus key, `None` for an observer. A key outside the committee observes
    too, until an epoch opens that has it.
    """

    def __init__(
        self, committee: Committee, key: bytes | None, timing: Timing, restored: Restored
    ) -> None:
        self.committee = committee
        self.tree = BlockTree(restored.head)
        self.view = restored.head.view + 1
        self._key = key
        self._timing = timing
        self._restored = restored
        self._now = 0
        self._effects: list[Effect] = []
        self._is_stopped = False
        self._is_between_epochs = restored.head.closes_epoch
        self._listening: Listening | None = None
        self._first_view = 0
        """First view that this node may vote in (rule C16)."""
        self._pacing = Pacing(timing, 0, 0)
        self._begin_epoch(committee)

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
            case Proposal(block):
                known_proposal = self.tree.proposals.get(block.header.view)
                return block.header.view > self.tree.final.view and (
                    known_proposal is None or known_proposal.proposal != message
                )
            case Certificate(ballot):
                return self.tree.is_wanted(ballot.kind, ballot.view)
            case CertificateRequest():
                return True
            case _:
                assert_never(message)

    def get_block(self, block_hash: bytes) -> Block | None:
        """Return a block above the final head, to serve it to a peer (rule C12)."""
        return self.tree.blocks.get(block_hash)

    # --- What is new: one arm for each input -----------------------------------------------------

    def _take(self, item: inputs.Input) -> None:
        match item:
            case inputs.Started():
                self._on_started()
            case inputs.TimerFired(_, timer):
                self._timers.pop(timer, None)
            case inputs.VoteReceived(_, verified):
                self._on_vote(verified.vote)
            case inputs.ProposalReceived(_, proposal):
                self._on_proposal(proposal)
            case inputs.CertificateReceived(_, verified_certificate):
                self._on_certificate(verified_certificate.certificate)
            case inputs.CertificatesRequested(_, authority, checked):
                self._on_request(authority, checked.request)
            case inputs.BlockReceived(_, block):
                if block.block_hash in self._wanted:
                    self.tree.blocks[block.block_hash] = block.block
            case inputs.ProposalBuilt(_, view, built):
                self._on_built(view, built)
            case inputs.BlockValidated(_, block_hash, is_valid, is_certified):
                self._on_validated(block_hash, is_valid, is_certified)
            case inputs.WorkKnown(_, is_pending):
                self._pacing.on_work(self._now, is_pending)
            case inputs.ChainAdvanced(_, head):
                if head.height > self.tree.final.height:
                    self._pacing.last_block_at = self._now
                    self._advance(head)
            case inputs.EpochOpened(_, authorities):
                self._on_epoch(authorities)
            case _:
                assert_never(item)

    def _on_started(self) -> None:
        # C16: a lone authority produces at once, one of several first listens.
        is_alone = self._me is not None and self.committee.size == 1
        last_block_at = self._now - (self._timing.heartbeat if is_alone else 0)
        is_pending = self._pacing.work_since is not None
        self._pacing = Pacing(self._timing, self._now, last_block_at)
        self._pacing.on_work(self._now, is_pending)
        if self._me is not None and not is_alone:
            self._listening = Listening(self._timing, self._now, self._restored.is_wiped)
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
            self._keeper.add(vote, self.view)

    def _restore_proposal(self, proposal: VerifiedProposal) -> None:
        header = proposal.proposal.block.header
        if header.epoch != self.committee.epoch or header.view <= self.tree.final.view:
            return
        self.tree.blocks[proposal.block_hash] = proposal.proposal.block
        self.tree.proposals[header.view] = proposal
        if header.proposer == self._key:
            self._own_proposals[header.view] = proposal.block_hash
            self.view = max(self.view, header.view)

    def _on_vote(self, vote: Vote) -> None:
        ballot = vote.ballot
        if ballot.epoch != self.committee.epoch or self._is_between_epochs:
            return
        if vote.signer == self._me:
            if self._is_foreign(ballot):
                self._stop(StopReason.OWN_KEY_ELSEWHERE, str(ballot))
                return
            self._own_votes.setdefault((ballot.view, ballot.kind), vote)
        elif ballot.view < self.view:
            self._answer_laggard(vote.signer, ballot.view)
        if self._listening is not None:
            self._listening.hear(self._now, ballot.view)
        if ballot.view > self.tree.final.view:
            self._count(vote)

    def _count(self, vote: Vote) -> None:
        counted = self._keeper.add(vote, self.view)
        if counted.evidence is not None:
            self._convict(vote.ballot.view, vote.signer, ReportEvidence(counted.evidence))
        if counted.certificate is not None:
            self._add_certificate(counted.certificate)

    def _on_proposal(self, verified: VerifiedProposal) -> None:
        header = verified.proposal.block.header
        view = header.view
        if header.epoch != self.committee.epoch or view <= self.tree.final.view:
            return
        if self._is_between_epochs or view > self.view + PROPOSAL_WINDOW:
            return
        if header.proposer == self._key and self._own_proposals.get(view) != verified.block_hash:
            if self._listening is None and view >= self._first_view:
                self._stop(StopReason.OWN_KEY_ELSEWHERE, f"proposal of view {view}")
                return
        leader = get_leader(view, self.committee.size)
        self._silent.on_proposal(leader, view)
        known = self.tree.proposals.get(view)
        if known is not None:
            if known.block_hash != verified.block_hash:
                evidence = make_proposal_evidence(known.proposal, verified.proposal)
                self._convict(view, leader, ReportEvidence(evidence))
            return
        if view >= self.view or verified.block_hash in self._wanted:
            self.tree.proposals[view] = verified
            self.tree.blocks[verified.block_hash] = verified.proposal.block

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
        # C18: an offence often shows only between a certificate and a vote outside of it.
        for signer, signature in zip(certificate.signers, certificate.signatures, strict=True):
            self._count(Vote(ballot, signer, signature))

    def _add_certificate(self, certificate: Certificate) -> None:
        if not self.tree.add_certificate(certificate):
            return
        self._effects.append(JournalCertificate(certificate))
        ballot = certificate.ballot
        if ballot.kind is VoteKind.NOTARIZE and ballot.view == max(self.tree.notarized):
            proposed_at = self._pacing.proposed_at if ballot.view == self.view else None
            self._pacing.last_block_at = self._now if proposed_at is None else proposed_at
            self._pacing.parent_final_at = None

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
        self.tree.blocks[block_hash] = block
        self.tree.executed.add(block_hash)
        self._own_proposals[view] = block_hash
        self._effects.append(SignProposal(block, block_hash))

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

    # --- What follows: the steps, always in this order -------------------------------------------

    def _progress(self) -> None:
        steps = (
            self._commit_final,
            self._end_listening,
            self._move_on,
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
            header = block.header
            self._advance(
                FinalHead(block_hash, header.height, header.view, certificate, closes_epoch(block))
            )
            if self._is_between_epochs:
                return

    def _advance(self, head: FinalHead) -> None:
        self.tree.advance(head)
        if not self.tree.notarized:
            self._pacing.parent_final_at = self._now
        self._is_between_epochs = head.closes_epoch
        view = head.view
        self._own_ballots = {k: v for k, v in self._own_ballots.items() if k[0] > view}
        self._own_votes = {k: v for k, v in self._own_votes.items() if k[0] > view}
        self._own_proposals = {k: v for k, v in self._own_proposals.items() if k > view}
        self._convicted = {k for k in self._convicted if k[0] > view}
        self._refused &= self.tree.blocks.keys()
        self._wanted = {}
        self._keeper.prune(view + 1)

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

    def _want(self, block_hash: bytes, holders: tuple[int, ...]) -> None:
        if block_hash not in self._wanted:
            self._wanted[block_hash] = holders
            self._effects.append(FetchBlock(block_hash, holders))

    def _want_range(self, height: int) -> None:
        if self._caught_up_at is None or self._now >= self._caught_up_at + self._timing.delta:
            self._caught_up_at = self._now
            self._effects.append(CatchUp(height))

    _caught_up_at: int | None = None

    def _validate(self, block_hash: bytes, block: Block, is_certified: bool) -> None:
        if (block_hash, is_certified) not in self._validating:
            self._validating.add((block_hash, is_certified))
            self._effects.append(ValidateBlock(block, block_hash, is_certified))

    def _end_listening(self) -> None:
        if self._listening is not None and self._now >= self._listening.compute_end(self.view):
            self._listening = None
            self._first_view = self.view if self._restored.is_wiped else 0

    def _move_on(self) -> None:
        # C7: any certificate of this view or a higher one, or f + 1 votes of a higher one.
        view = max(self.tree.highest_view + 1, self._keeper.compute_supported_view())
        if view <= self.view:
            return
        is_silent = self.view not in self.tree.proposals and self.view in self.tree.nullified
        leader = get_leader(self.view, self.committee.size)
        if is_silent and leader != self._me:
            self._silent.on_silence(leader, self.view)
        self.view = view
        self._pacing.enter(self._now)
        self._resend_at = None
        self._missing = None
        self._keeper.prune(max(self.tree.final.view + 1, view - VIEW_WINDOW))
        self._drop_proposals()
        certificate = self._get_entry_certificate()
        if self._me is not None and certificate is not None:
            leader = get_leader(view, self.committee.size)
            is_mine = leader == self._me
            self._effects.append(Broadcast(certificate) if is_mine else Send(leader, certificate))

    def _drop_proposals(self) -> None:
        """Forget blocks of past views that were not notarized, by a quorum or by this node."""
        for view in [view for view in self.tree.proposals if view < self.view - 1]:
            block_hash = self.tree.proposals[view].block_hash
            notarization = self.tree.notarized.get(view)
            is_own = self._own_ballots.get((view, VoteKind.NOTARIZE)) == block_hash
            if notarization is None and not is_own:
                del self.tree.proposals[view]
                self.tree.blocks.pop(block_hash, None)

    def _get_entry_certificate(self) -> Certificate | None:
        earlier = self.view - 1
        final = self.tree.final
        return (
            self.tree.notarized.get(earlier)
            or self.tree.nullified.get(earlier)
            or (final.certificate if final.view == earlier else None)
        )

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
        block, block_hash = verified.proposal.block, verified.block_hash
        if not self._may_vote(VoteKind.NOTARIZE, self.view) or block_hash in self._refused:
            return
        if (self.view, VoteKind.NULLIFY) in self._own_ballots:
            return
        missing = self.tree.find_unjustified(block)
        if missing is not None:
            self._ask(missing)
            return
        if not self.tree.is_built_on_parent(block):
            self._refused.add(block_hash)
        elif block_hash in self.tree.executed:
            self._vote(VoteKind.NOTARIZE, self.view, block_hash, verified.proposal)
        elif self.tree.is_executed(block.header.parent):
            self._validate(block_hash, block, is_certified=False)
        else:
            parent = self.tree.notarized[block.header.parent_view]
            path = self.tree.find_path(block.header.parent)
            self._is_ready(path, parent, len(path.blocks))

    def _lead(self) -> None:
        # C8 and C13: propose once work waits, the interval is over and the parent is settled.
        if self._me != get_leader(self.view, self.committee.size):
            return
        if self._listening is not None or self.view < self._first_view:
            return
        is_begun = self._request is not None and self._request.view == self.view
        if is_begun or self.view in self._own_proposals:
            return
        is_over = (self.view, VoteKind.NULLIFY) in self._own_ballots
        if is_over or self._now < self._pacing.compute_due():
            return
        parent = self.tree.find_parent(self.view)
        if isinstance(parent, Missing):
            self._ask(parent)
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
        ballot = Ballot(VoteKind.NULLIFY, self.committee.epoch, self.view, NO_BLOCK)
        if self._pacing.hinted_at is None and self._keeper.is_said_by_honest(ballot):
            self._pacing.hinted_at = self._now
        if (self.view, VoteKind.FINALIZE) in self._own_ballots:
            return
        verified = self.tree.proposals.get(self.view)
        is_refused = verified is not None and verified.block_hash in self._refused
        deadlines = self._compute_deadlines().values()
        is_late = any(self._now >= deadline for deadline in deadlines)
        if is_refused or is_late or self._failed_view == self.view:
            self._vote(VoteKind.NULLIFY, self.view, NO_BLOCK)

    def _compute_deadlines(self) -> dict[Timer, int]:
        """Return when this view is nullified, by the leader's and by the view's timer."""
        deadlines: dict[Timer, int] = {}
        if not self._may_vote(VoteKind.NULLIFY, self.view):
            return deadlines
        leader = get_leader(self.view, self.committee.size)
        is_building = self._request is not None and self._request.view == self.view
        if self.view not in self.tree.proposals and not is_building:
            is_silent = self._silent.is_silent(leader)
            deadlines[Timer.LEADER] = self._pacing.compute_leader_deadline(is_silent)
        if self.committee.size > 1:
            # Nobody else could take the turn of a lone authority whose block takes long.
            deadlines[Timer.VIEW] = self._pacing.compute_view_deadline()
        return deadlines

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
        if self._listening is not None:
            wanted[Timer.LISTEN] = self._listening.compute_end(self.view)
        if self._me == get_leader(self.view, self.committee.size):
            wanted[Timer.PROPOSE] = self._pacing.compute_due()
        for timer, at in wanted.items():
            if at > self._now and self._timers.get(timer) != at:
                self._timers[timer] = at
                self._effects.append(SetTimer(timer, at))

    # --- What the steps and arms share -----------------------------------------------------------

    def _may_vote(self, kind: VoteKind, view: int) -> bool:
        if self._me is None or self._listening is not None or view < self._first_view:
            return False
        return (view, kind) not in self._own_ballots

    def _vote(
        self, kind: VoteKind, view: int, block_hash: bytes, proposal: Proposal | None = None
    ) -> None:
        if self._may_vote(kind, view):
            self._own_ballots[(view, kind)] = block_hash
            ballot = Ballot(kind, self.committee.epoch, view, block_hash)
            self._effects.append(SignVote(ballot, proposal))

    def _is_foreign(self, ballot: Ballot) -> bool:
        """Tell whether our key cast what this node never did (rule C11)."""
        if self._listening is not None and self._restored.is_wiped:
            return False
        if ballot.view < self._first_view or ballot.view <= self.tree.final.view:
            return False
        return self._own_ballots.get((ballot.view, ballot.kind)) != ballot.block_hash

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
    return FinalHead(head.block_hash, head.height, head.view, head.certificate)
