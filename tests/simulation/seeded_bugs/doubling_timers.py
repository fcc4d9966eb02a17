"""Nullified views double the timers, and repetitions the time to the next, without a cap."""

import msgspec

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    _repeated = 0

    def _move_on(self) -> None:
        before = self.view
        super()._move_on()
        if self.view == before:
            return
        self._repeated = 0
        failed = self.view - 1 - self.tree.final.view
        timing = self._pacing.timing
        self._pacing.timing = msgspec.structs.replace(timing, delta=_double(failed))

    def _send_again(self) -> None:
        super()._send_again()
        self._repeated += 1
        self._resend_at = self._now + _double(self._repeated)


def _double(times: int) -> int:
    return min(3_600_000, 250 << min(20, times))


VARIANT = Variant(machine=_Machine)
