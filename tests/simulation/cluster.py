"""A whole network in one loop: nodes, messages, timers, crashes and work, from one seed.

A run has two phases, and for some seeds a third: a stormy one (safety alone is demanded), a calm
one in which a healthy core must finish all work within the bound, and an idle one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from consensus import effects
from consensus.evidence import Evidence
from consensus.messages import CommittedBlock, Message
from ledger.rejection import Rejected
from tests.simulation.liveness import LivenessChecker, check_copy, check_idle, compute_bound
from tests.simulation.network import CALM, SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.processes import Processes
from tests.simulation.safety import SafetyChecker, Violation
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Schedule
from tests.simulation.signing import ED25519
from tests.simulation.storm import Storm
from tests.simulation.variant import Variant
from tests.simulation.wire import Wire
from tests.simulation.world import World

ITEM_INTERVAL = 400


@dataclass(frozen=True)
class Result:
    """What a run without a violation did."""

    events: int
    height: int
    crashes: int
    refused: int
    convicted: int
    slowest: int


class Cluster:
    """The surroundings of all nodes of one scenario."""

    def __init__(self, scenario: Scenario, variant: Variant) -> None:
        self.scenario = scenario
        self.random = Random(scenario.seed ^ 0x5EED)
        self.schedule = Schedule()
        seeds = tuple(Random(index).randbytes(32) for index in range(scenario.size))
        self.world = World(
            scenario.scheme, seeds, scenario.plan, scenario.closing_heights, variant.verify
        )
        self.network = SimulatedNetwork(self.random, scenario.weather)
        self.processes = Processes(scenario, variant, self.world, self, self.schedule, self.random)
        self.wire = Wire(
            self.schedule,
            self.network,
            self.random,
            self.processes,
            is_encoding=scenario.scheme is ED25519,
        )
        self.storm = Storm(
            scenario, self.schedule, self.network, self.random, self.world, self.processes
        )
        self.honest = frozenset(range(scenario.size)) - frozenset(scenario.byzantine)
        self.safety = SafetyChecker(self.world, self.honest, scenario.wiped | scenario.copied)
        bound = compute_bound(scenario.timing, len(scenario.faulty))
        self.liveness = LivenessChecker(bound, scenario.timing)
        self._refused = 0
        self._timers: dict[tuple[SimulatedNode, effects.Timer], int] = {}
        self._items_end = False

    @property
    def now(self) -> int:
        """Time of the run in ms."""
        return self.schedule.now

    @property
    def nodes(self) -> list[SimulatedNode]:
        """The newest process at each place: nodes in order, then copies."""
        return self.processes.nodes

    def run(self) -> Result:
        """Run all phases. Raises `Violation`."""
        scenario, schedule = self.scenario, self.schedule
        self.processes.start_all(300)
        schedule.at(self.now + 100, self._add_item)
        self.storm.begin()
        storm_ends = self.now + scenario.stormy
        schedule.run_until(storm_ends)
        self._calm_down()
        self._run_healthy(self.liveness.bound + 1)
        if scenario.twin is not None and scenario.twin.is_heard:
            self._try_copy()
        longest = max(scenario.calm, self.liveness.conviction_bound + 1)
        self._run_healthy(storm_ends + longest - self.now)
        if scenario.idle:
            self._run_idle()
        return Result(
            schedule.events,
            self.safety.committed,
            self.processes.crashes,
            self._refused,
            len(self.safety.convicted),
            self.liveness.slowest,
        )

    def _run_healthy(self, milliseconds: int) -> None:
        """Let time pass, and more of it while an authority that may be wiped listens."""
        healthy = self.now + milliseconds
        while self.now < healthy:
            self.schedule.run_until(min(healthy, self.now + ITEM_INTERVAL))
            self._check_liveness()
        end = self.now + self.scenario.timing.longest_wiped
        while any(node.is_listening for node in self.nodes) and self.now < end:
            self._check_liveness()
            self.schedule.run_until(self.now + ITEM_INTERVAL)
        self._check_liveness()

    def _run_idle(self) -> None:
        self._items_end = True
        self.schedule.run_until(self.now + 2_500)
        since = max(node.committed_at[-1] for node in self.nodes) + 200
        end = since + self.scenario.idle
        self.schedule.run_until(end)
        check_idle(self.nodes, since, end, self.scenario.timing)

    def _try_copy(self) -> None:
        """Run a copy of a healthy node's data folder where both hear each other.

        One whose journal holds no signature cannot be told from its original by votes alone; its
        peers tell it (rule C16).
        """
        if not self.storm.is_copy_signed():
            return
        copy = self.storm.start_copy()
        self.schedule.run_until(self.now + 2_500)
        check_copy(copy, self.nodes[copy.index])

    # --- Work and the end of the storm -----------------------------------------------------------

    def _calm_down(self) -> None:
        self.network.weather = CALM
        self.network.part({})
        self.processes.calm_down()
        self.liveness.on_item(self.processes.known, self.now)
        for payload in self.processes.evidence:
            self.liveness.on_evidence(self.world.get_offender(payload), self.now)
        self._check_liveness()

    def _check_liveness(self) -> None:
        healthy = self.honest - self.scenario.copied - self.processes.stopped
        self.liveness.check([self.nodes[index] for index in sorted(healthy)], self.now)

    def _add_item(self) -> None:
        is_early = self.scenario.ends_early and self.now > self.scenario.stormy
        if self._items_end or is_early:
            return
        self.add_work()
        if self.processes.is_calm:
            self.liveness.on_item(self.processes.known, self.now)
            self._check_liveness()
        self.schedule.at(self.now + ITEM_INTERVAL, self._add_item)

    def add_work(self) -> None:
        """Let everybody hear of one more item soon."""
        self.processes.known += 1
        number = self.processes.known
        self._tell_all(lambda node: node.learn(number))

    def _tell_all(self, tell: Callable[[SimulatedNode], None]) -> None:
        for place in range(len(self.nodes)):
            at = self.now + self.random.randint(0, 60)
            self.schedule.at(at, partial(self._tell, place, tell))

    def _tell(self, place: int, tell: Callable[[SimulatedNode], None]) -> None:
        node = self.nodes[place]
        self.processes.run_in(node, lambda: tell(node))

    # --- What nodes ask of their surroundings ----------------------------------------------------

    def send(self, node: SimulatedNode, receiver: int, message: Message | bytes) -> None:
        """Carry a message as the weather permits."""
        if not isinstance(message, bytes):
            self.safety.on_sent(node, message, self.now)
        self.wire.send(node, receiver, message)

    def broadcast(self, node: SimulatedNode, message: Message) -> None:
        """Carry a message to everybody else."""
        self.storm.watch(message)
        self.safety.on_sent(node, message, self.now)
        self.wire.broadcast(node, message)

    def fetch(self, node: SimulatedNode, block_hash: bytes, holders: tuple[int, ...]) -> None:
        """Ask one holder for a block."""
        self.wire.fetch(node, block_hash, holders)

    def catch_up(self, node: SimulatedNode) -> None:
        """Fetch final blocks in a range of one peer."""
        self.wire.catch_up(node)

    def is_in_step(self, node: SimulatedNode) -> bool:
        """Tell whether a node hears others and lacks none of their blocks."""
        return self.wire.is_in_step(node)

    def watch_for_step(self, node: SimulatedNode) -> None:
        """Tell a node once it is in step."""
        self.wire.watch_for_step(node)

    def set_timer(self, node: SimulatedNode, timer: effects.Timer, at: int) -> None:
        """Replace a node's timer."""
        self._timers[(node, timer)] = at
        self.schedule.at(at, partial(self._fire, node, timer, at))

    def _fire(self, node: SimulatedNode, timer: effects.Timer, at: int) -> None:
        if self._timers.get((node, timer)) == at:
            self.processes.run_in(node, lambda: node.fire(timer))

    def on_commit(self, node: SimulatedNode, committed: CommittedBlock) -> None:
        """A block became final at a node."""
        node.committed_at.append(self.now)
        self.safety.on_commit(node, committed)
        if self.processes.is_calm:
            self._check_liveness()

    def on_evidence(self, node: SimulatedNode, evidence: Evidence) -> None:
        """A node convicts another, and lets everybody know."""
        self.safety.on_evidence(evidence)
        payload = self.world.prove(evidence)
        offender = self.world.get_offender(payload)
        self.processes.evidence.append(payload)
        self._tell_all(lambda other: other.learn_evidence(payload))
        if self.processes.is_calm:
            self.liveness.on_evidence(offender, self.now)

    def on_refused(self, node: SimulatedNode, sender: int, reason: Rejected) -> None:
        """A node dropped what another sent: never what an honest one did."""
        self._refused += 1
        if sender in self.honest and node.index in self.honest:
            raise Violation(f"node {node.index} refuses what {sender} says: {reason}")

    def on_stop(self, node: SimulatedNode, stop: effects.Stop) -> None:
        """A node stops itself: never one that did nothing wrong."""
        # One that was wiped cannot tell its own past from another copy of its key.
        may_stop = node.index in self.scenario.wiped | self.scenario.copied
        is_copy = node.place != node.index
        if stop.reason is effects.StopReason.OWN_KEY_ELSEWHERE and (may_stop or is_copy):
            node.is_up = False
            self.processes.stopped.add(node.place)
        elif node.index in self.honest:
            raise Violation(f"node {node.index} stops: {stop.reason.value}: {stop.detail}")
