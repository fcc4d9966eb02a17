"""A vote of one's own key is repeated although the journal does not hold it."""

from consensus.machine import Consensus
from consensus.messages import Vote
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _on_vote(self, vote: Vote) -> None:
        super()._on_vote(vote)
        if vote.signer == self._me and vote.ballot.epoch == self.committee.epoch:
            self._own_votes.setdefault((vote.ballot.view, vote.ballot.kind), vote)


VARIANT = Variant(machine=_Machine)
