"""A lone authority waits to hear from peers before it produces."""

from consensus.machine import Consensus
from consensus.pacing import Listening
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _listen(self, is_connected: bool) -> None:
        super()._listen(is_connected)
        if self.committee.size == 1:
            self._listening = Listening(self._timing, False)


VARIANT = Variant(machine=_Machine)
