"""What must happen once a quorum is healthy: the liveness checker.

A work item that every healthy node knows is final at every healthy node within a bound, and so is
the conviction of whoever is proved guilty; an idle chain commits its heartbeat and nullifies no
view; a copy of a running key that hears the original stops.
"""

from dataclasses import dataclass

from consensus.timing import Timing
from tests.simulation.node import SimulatedNode
from tests.simulation.safety import Violation


def compute_bound(timing: Timing, faulty: int) -> int:
    """Return how long after the network is healthy an item may wait, in ms.

    Each of the faulty leaders may spoil one view (3 delta, and 2 delta of waiting for its parent);
    before that a wiped authority may still be listening, and after that come one interval and the
    time to fetch what was missed.
    """
    spoiled_view = timing.view_timeout + timing.finality_wait
    coming_together = timing.longest_listening + 2 * timing.delta
    return (faulty + 1) * spoiled_view + coming_together + 2 * timing.block_interval


@dataclass
class LivenessChecker:
    """Deadlines of one run."""

    bound: int
    timing: Timing
    slowest: int = 0

    def __post_init__(self) -> None:
        self._items: list[tuple[int, int]] = []
        self._listened_at = 0
        """When a healthy authority was last seen to listen: without it there may be no quorum."""
        self._convictions: dict[int, int] = {}

    def on_item(self, number: int, now: int) -> None:
        """An item is known to all healthy nodes."""
        self._items.append((number, now))

    def on_evidence(self, offender: int, now: int) -> None:
        """All healthy nodes know what convicts an authority."""
        self._convictions.setdefault(offender, now)

    def check(self, nodes: list[SimulatedNode], now: int) -> None:
        """Demand that everything older than the bound is final everywhere."""
        done = min(node.done if node.is_up else 0 for node in nodes)
        while self._items and self._items[0][0] <= done:
            _, since = self._items.pop(0)
            self.slowest = max(self.slowest, now - since)
        if any(node.is_listening for node in nodes):
            self._listened_at = now
        if self._items and now > self._compute_deadline(self._items[0][1]):
            number, since = self._items[0]
            state = [(node.index, node.done, node.machine.view) for node in nodes]
            raise Violation(f"item {number} waits since {since}: (node, done, view) {state}")
        for offender, since in self._convictions.items():
            if now > self._compute_deadline(since) - self.bound + self.conviction_bound:
                self._check_conviction(offender, since, nodes)

    def _compute_deadline(self, since: int) -> int:
        """Return until when something must be final: nobody who is needed listens for ever."""
        listened_at = min(self._listened_at, since + self.timing.longest_wiped)
        return max(since, listened_at) + self.bound

    @property
    def conviction_bound(self) -> int:
        """How long an authority that is proved guilty may stay in the set: two blocks more."""
        return self.bound + 3 * self.timing.block_interval

    def _check_conviction(self, offender: int, since: int, nodes: list[SimulatedNode]) -> None:
        for node in nodes:
            state = node.store.state
            is_out = offender in state.convicted and offender not in state.members
            if not is_out and state.members != (offender,):
                raise Violation(
                    f"{offender} is guilty since {since} and in node {node.index}'s set"
                )


def check_idle(nodes: list[SimulatedNode], since: int, until: int, timing: Timing) -> None:
    """Demand a heartbeat, few blocks and no nullify vote while nothing was to do."""
    for node in nodes:
        if any(since <= at <= until for at, _ in node.nullified):
            raise Violation(f"node {node.index} nullified a view of an idle chain")
        times = [at for at in node.committed_at if since <= at <= until]
        if len(times) != (until - since) // timing.heartbeat:
            raise Violation(f"node {node.index} has {len(times)} heartbeats: {times}")


def check_copy(copy: SimulatedNode, original: SimulatedNode) -> None:
    """Demand that a copy which heard the original has stopped without a signature of its own."""
    if copy.is_up:
        raise Violation(f"a copy of node {copy.index} still runs")
    if copy.has_signed:
        raise Violation(f"a copy of node {copy.index} signed before it stopped")
    if not original.is_up:
        raise Violation(f"the original of node {copy.index} stopped")
