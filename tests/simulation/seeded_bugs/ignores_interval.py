"""A leader proposes as soon as its parent is final."""

import msgspec

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _lead(self) -> None:
        timing = self._pacing.timing
        self._pacing.timing = msgspec.structs.replace(timing, block_interval=1)
        super()._lead()
        self._pacing.timing = timing


VARIANT = Variant(machine=_Machine)
