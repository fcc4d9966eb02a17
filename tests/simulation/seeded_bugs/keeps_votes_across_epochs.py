"""The votes of one epoch stay beside those of the next."""

from consensus.machine import Consensus
from consensus.verification import Committee
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        keeper = getattr(self, "_keeper", None)
        super()._begin_epoch(committee)
        self._keeper = keeper or self._keeper


VARIANT = Variant(machine=_Machine)
