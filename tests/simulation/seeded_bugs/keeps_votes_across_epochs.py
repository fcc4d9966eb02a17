"""The votes of one epoch stay beside those of the next, where both have as many authorities."""

from consensus.machine import Consensus
from ledger.blocks import AuthoritySet
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _on_epoch(self, authorities: AuthoritySet) -> None:
        keeper, size = self._keeper, self.committee.size
        super()._on_epoch(authorities)
        if self.committee.size == size:
            self._keeper = keeper


VARIANT = Variant(machine=_Machine)
