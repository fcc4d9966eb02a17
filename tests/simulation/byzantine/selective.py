"""An authority that speaks to one node at a time, so that certificates form at one place only."""

from consensus import effects
from consensus.messages import Proposal
from ledger.ballots import Ballot
from tests.simulation.byzantine.dishonest import DishonestNode


class Selective(DishonestNode):
    """Every vote goes to one other node, and no certificate is ever passed on."""

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        vote = self.make_vote(ballot)
        self.whisper(self.random.choice(self.get_others()), vote)
        self.hear_own(vote)

    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.Broadcast | effects.Send):
            super().perform(effect)
