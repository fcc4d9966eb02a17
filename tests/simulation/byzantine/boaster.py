"""An authority whose votes speak of views that nobody has reached."""

from consensus.messages import Proposal
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from tests.simulation.byzantine.dishonest import DishonestNode


class Boaster(DishonestNode):
    """Beside each vote it nullifies a view far ahead."""

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        super().sign_vote(ballot, proposal)
        ahead = ballot.view + self.random.choice((3, 40, 1_000))
        vote = self.make_vote(Ballot(VoteKind.NULLIFY, ballot.epoch, ahead, NO_BLOCK))
        for node in self.get_others():
            self.whisper(node, vote)
