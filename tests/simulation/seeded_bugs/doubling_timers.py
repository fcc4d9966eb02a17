"""Each nullified view doubles the next one's timers, without a cap."""

import msgspec

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _move_on(self) -> None:
        before = self.view
        super()._move_on()
        if self.view == before:
            return
        failed = self.view - 1 - self.tree.final.view
        longer = min(3_600_000, 250 * 2 ** min(20, failed))
        timing = self._pacing.timing
        self._pacing.timing = msgspec.structs.replace(timing, delta=longer)


VARIANT = Variant(machine=_Machine)
