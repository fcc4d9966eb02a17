"""Who catches up into another epoch votes in it at once."""

from consensus.machine import Consensus
from ledger.blocks import AuthoritySet
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _on_epoch(self, authorities: AuthoritySet) -> None:
        super()._on_epoch(authorities)
        self._listening = None


VARIANT = Variant(machine=_Machine)
