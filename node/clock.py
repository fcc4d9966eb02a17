"""The two clocks of a node. Neither enters a rule: header time does."""

import time


def get_wall_time() -> int:
    """Return the wall clock in milliseconds: a proposer's clock."""
    return time.time_ns() // 1_000_000


def get_monotonic_time() -> int:
    """Return the machine's monotonic clock in milliseconds: the clock of the timers."""
    return time.monotonic_ns() // 1_000_000
