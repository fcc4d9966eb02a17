"""An authority that votes and proposes both ways: one half hears this, the other half that."""

from consensus.messages import Proposal
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from ledger.blocks import Block, compute_header_hash
from tests.simulation.byzantine.dishonest import DishonestNode


class Equivocator(DishonestNode):
    """Signs two proposals a turn, every notarize for any block, and nullify beside finalize."""

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        if view != block.header.view:
            return super().sign_proposal(view, block, block_hash)
        other = self.build_other(block)
        first = self.make_proposal(view, block, block_hash)
        second = self.make_proposal(view, other, compute_header_hash(other.header))
        for node in self.get_others():
            self.whisper(node, first if node % 2 else second)
        self.hear_own(first)
        return None

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        vote = self.make_vote(ballot)
        others = self.get_others()
        for node in others:
            self.whisper(node, vote)
        opposite = {
            VoteKind.FINALIZE: VoteKind.NULLIFY,
            VoteKind.NOTARIZE: VoteKind.NULLIFY,
        }.get(ballot.kind)
        if opposite is not None and others:
            second = Ballot(opposite, ballot.epoch, ballot.view, NO_BLOCK)
            self.whisper(self.random.choice(others), self.make_vote(second))
        self.hear_own(vote)

    def on_foreign_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        """Notarize and finalize whatever anybody proposes, at once."""
        epoch = proposal.block.header.epoch
        for kind in (VoteKind.NOTARIZE, VoteKind.FINALIZE):
            vote = self.make_vote(Ballot(kind, epoch, proposal.view, block_hash))
            for node in self.get_others():
                if self.random.random() < 0.7:
                    self.whisper(node, vote)
