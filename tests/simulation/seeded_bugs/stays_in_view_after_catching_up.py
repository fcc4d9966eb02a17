"""Final blocks that came in a range do not end the view that they were made in."""

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _move_on(self) -> None:
        if not self._is_from_range:
            super()._move_on()


VARIANT = Variant(machine=_Machine)
