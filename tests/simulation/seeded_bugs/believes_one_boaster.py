"""One vote of a higher view, not f + 1, moves a node forward."""

from consensus.machine import Consensus
from consensus.verification import Committee
from consensus.vote_keeper import VoteKeeper
from tests.simulation.variant import Variant


class _Keeper(VoteKeeper):
    def compute_supported_view(self) -> int:
        return max(self._highest)


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self._keeper = _Keeper(committee.size)


VARIANT = Variant(machine=_Machine)
