"""The leader timer starts on entering a view, whether there is work or not."""

from consensus.machine import Consensus
from consensus.pacing import Pacing
from tests.simulation.variant import Variant


class _Pacing(Pacing):
    def compute_leader_deadline(self, is_silent: bool) -> int:
        return self.entered_at + 4 * self.timing.leader_timeout


class _Machine(Consensus):
    def _compute_deadlines(self):  # type: ignore[no-untyped-def]
        self._pacing.__class__ = _Pacing
        return super()._compute_deadlines()


VARIANT = Variant(machine=_Machine)
