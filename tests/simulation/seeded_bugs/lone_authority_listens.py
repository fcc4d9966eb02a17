"""A lone authority waits to hear from peers before it produces."""

from consensus.machine import Consensus
from consensus.pacing import Listening
from tests.simulation.node import Variant


class _Listening(Listening):
    def hear(self, now: int, view: int) -> None:
        super().hear(now, view)
        self.until = now

    def compute_end(self, view: int) -> int:
        return self.until


class _Machine(Consensus):
    def _listen(self) -> None:
        super()._listen()
        if self.committee.size == 1:
            self._listening = _Listening(self._timing, self._now + 10**9, False)


VARIANT = Variant(machine=_Machine)
