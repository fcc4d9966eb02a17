"""An authority votes as soon as it has started, before it could hear its own key elsewhere."""

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _listen(self, is_connected: bool) -> None:
        return


VARIANT = Variant(machine=_Machine)
