"""Simulated time: what happens when, in one order."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Schedule:
    """A queue of actions; those of one instant happen in the order in which they were planned."""

    def __init__(self) -> None:
        self.now = 1_000
        self.events = 0
        self._queue: list[tuple[int, int, Action]] = []
        self._counter = 0

    def at(self, time: int, action: Action) -> None:
        """Plan an action."""
        self._counter += 1
        heapq.heappush(self._queue, (time, self._counter, action))

    def run_until(self, end: int) -> None:
        """Let everything happen that is due up to a time."""
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            self.events += 1
            action()
        self.now = max(self.now, end)
