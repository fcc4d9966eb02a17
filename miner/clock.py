"""Decides what time it is on a lease: the claim's header time and what has gone by since.

The receipt's times must lie between the claim's header time and that of the settling block. Our
own clock may be wrong by any amount; counted from the moment that the final claim was heard of,
and from the chain's head at that moment, the lease's time is never ahead of the chain's, so no
settlement has to wait for it. Nor is it far behind, when the job's content was long on its way.
"""

import time
from collections.abc import Callable

from miner.work import LeaseRecord


def read_wall_clock() -> int:
    """Return our own clock, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class LeaseClock:
    """The time on one lease, in milliseconds of header time; it never goes back.

    After a restart of the miner the time that passed in between is taken from our own clock.
    """

    def __init__(
        self,
        lease: LeaseRecord,
        wall: Callable[[], int] = read_wall_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        start = max(lease.claimed_at, lease.head)
        self._start = start + max(0, wall() - lease.received_at)
        self._anchor = monotonic()

    def read(self) -> int:
        """Return the time now."""
        return self._start + int((self._monotonic() - self._anchor) * 1000)
