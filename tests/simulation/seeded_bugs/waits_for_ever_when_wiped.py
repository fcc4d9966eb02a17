"""A wiped or new authority waits without end for the view to pass that it found others in."""

from consensus.machine import Consensus
from consensus.timing import Timing
from tests.simulation.variant import Variant


class _Timing(Timing, frozen=True):
    @property
    def longest_listening(self) -> int:
        return 3_600_000


class _Machine(Consensus):
    def _listen(self, is_connected: bool) -> None:
        timing = self._timing
        self._timing = _Timing(timing.delta, timing.block_interval, timing.heartbeat)
        super()._listen(is_connected)
        self._timing = timing


VARIANT = Variant(machine=_Machine)
