"""What must happen once a quorum is healthy: the liveness checker.

A work item that every healthy node knows is final at every healthy node within a bound; an idle
chain commits its heartbeat and nullifies no view.
"""

from dataclasses import dataclass

from consensus.timing import Timing
from tests.simulation.node import SimulatedNode
from tests.simulation.safety import Violation


def compute_bound(timing: Timing, fault_bound: int) -> int:
    """Return how long after the network is healthy an item may wait, in ms.

    Each of the f faulty leaders may spoil one view (3 delta, and 2 delta of waiting for its
    parent); before that a wiped authority may still be listening, and after that come one interval
    and the time to fetch what was missed.
    """
    spoiled_view = timing.view_timeout + timing.finality_wait
    coming_together = timing.longest_listening + 2 * timing.delta
    return (fault_bound + 1) * spoiled_view + coming_together + 2 * timing.block_interval


@dataclass
class LivenessChecker:
    """Deadlines of one run."""

    bound: int
    slowest: int = 0

    def __post_init__(self) -> None:
        self._items: list[tuple[int, int]] = []
        self._waiting: dict[int, int] = {}

    def on_item(self, number: int, now: int) -> None:
        """An item is known to all healthy nodes."""
        self._items.append((number, now))

    def check(self, nodes: list[SimulatedNode], now: int) -> None:
        """Demand that every item older than the bound is final everywhere."""
        done = min(node.done if node.is_up else 0 for node in nodes)
        while self._items and self._items[0][0] <= done:
            _, since = self._items.pop(0)
            self.slowest = max(self.slowest, now - since)
        if self._items and now - self._items[0][1] > self.bound:
            number, since = self._items[0]
            state = [(node.index, node.done, node.machine.view) for node in nodes]
            raise Violation(f"item {number} waits since {since}: (node, done, view) {state}")


def check_idle(nodes: list[SimulatedNode], since: int, until: int, timing: Timing) -> None:
    """Demand a heartbeat, few blocks and no nullify vote while nothing was to do."""
    for node in nodes:
        if any(since <= at <= until for at, _ in node.nullified):
            raise Violation(f"node {node.index} nullified a view of an idle chain")
        times = [at for at in node.committed_at if since <= at <= until]
        if len(times) != (until - since) // timing.heartbeat:
            raise Violation(f"node {node.index} has {len(times)} heartbeats: {times}")
