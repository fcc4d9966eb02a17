"""A notarize vote is journaled without the block that it is for."""

from consensus.journal import Entry
from consensus.messages import Proposal, Vote
from consensus.sign_state import SignState
from tests.simulation.variant import Variant


class _SignState(SignState):
    def record_vote(self, vote: Vote, proposal: Proposal | None) -> tuple[Entry, ...]:
        return super().record_vote(vote, None)


VARIANT = Variant(sign_state=_SignState)
