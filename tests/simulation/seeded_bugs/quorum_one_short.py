"""A certificate is made of one vote less than a quorum."""

from consensus.machine import Consensus
from consensus.verification import Committee
from consensus.vote_keeper import VoteKeeper
from tests.simulation.variant import Variant


class _Keeper(VoteKeeper):
    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._quorum = max(1, self._quorum - 1)


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self._keeper = _Keeper(committee.size)


VARIANT = Variant(machine=_Machine)
