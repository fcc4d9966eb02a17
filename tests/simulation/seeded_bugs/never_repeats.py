"""Nothing is ever sent a second time."""

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _send_again(self) -> None:
        return


VARIANT = Variant(machine=_Machine)
