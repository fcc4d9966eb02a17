"""The processes of a run: they start, crash, are killed and start again on the same host."""

from functools import partial
from random import Random

from consensus.journal import JournalDamaged
from consensus.sign_state import ConflictingSignature, SignStateRefused
from ledger.transactions import EquivocationEvidence
from tests.simulation.byzantine.kinds import BYZANTINE
from tests.simulation.code import Code
from tests.simulation.disk import SimulatedDisk
from tests.simulation.host import Host, Store
from tests.simulation.node import Crashed, SimulatedNode, Surroundings
from tests.simulation.safety import Violation
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Action, Schedule
from tests.simulation.variant import Variant
from tests.simulation.world import World


class Processes:
    """The newest process at each place: nodes in order, then copies."""

    def __init__(
        self,
        scenario: Scenario,
        variant: Variant,
        world: World,
        surroundings: Surroundings,
        schedule: Schedule,
        random: Random,
    ) -> None:
        self.nodes: list[SimulatedNode] = []
        self.stopped: set[int] = set()
        """Places whose processes have stopped themselves."""
        self.crashes = 0
        self.is_calm = False
        self.known = 0
        """Work items that a new process hears of at once."""
        self.evidence: list[EquivocationEvidence] = []
        self._scenario = scenario
        self._variant = variant
        self._world = world
        self._surroundings = surroundings
        self._schedule = schedule
        self._random = random

    def start_all(self, within: int) -> None:
        """Start every node at some time within so many ms."""
        for index in range(self._scenario.size):
            store = Store(self._world.genesis)
            host = Host(index, index, store, self._random.randint(0, 10**6))
            node = self._make_node(host)
            self.nodes.append(node)
            at = self._schedule.now + self._random.randint(0, within)
            self._schedule.at(at, partial(self._start, node))

    def add_copy(self, index: int, disk: SimulatedDisk, store: Store) -> SimulatedNode:
        """Start a copy of a node's data folder at a place of its own."""
        host = Host(len(self.nodes), index, store, self._random.randint(0, 10**6), disk)
        node = self._make_node(host)
        self.nodes.append(node)
        self._start(node)
        return node

    def run_in(self, node: SimulatedNode, action: Action) -> None:
        """Run code of a node, if its process is up."""
        if node.is_up:
            self._guard(node, action)

    def crash(self, node: SimulatedNode) -> None:
        """End a process as a loss of power does; it starts again soon."""
        self.kill(node)
        at = self._schedule.now + self._random.randint(10, 2_000)
        self._schedule.at(at, lambda: self.restart(node.place))

    def kill(self, node: SimulatedNode) -> None:
        """End a process until somebody starts it again."""
        self.crashes += 1
        node.is_up = False
        node.host.disk.crash(self._random)

    def restart(self, place: int) -> None:
        """Start a process that is down, unless it has stopped itself."""
        old = self.nodes[place]
        if old.is_up or place in self.stopped:
            return
        node = self._make_node(old.host)
        node.nullified, node.committed_at = old.nullified, old.committed_at
        self.nodes[place] = node
        self._start(node)

    def calm_down(self) -> None:
        """Let nobody crash any more, and start whoever is down."""
        self.is_calm = True
        for node in list(self.nodes):
            node.crash_chance = 0.0
            self.restart(node.place)

    def _make_node(self, host: Host) -> SimulatedNode:
        kind = self._scenario.byzantine.get(host.index)
        node = (BYZANTINE[kind] if kind else self._variant.node)(
            host,
            self._world,
            self._surroundings,
            self._scenario.timing,
            Random(self._random.random()),
            Code() if kind else self._variant,
        )
        if kind is None and not self.is_calm:
            node.crash_chance = self._scenario.crash_chance
        node.known = self.known
        for payload in self.evidence:
            node.evidence.setdefault(self._world.get_offender(payload), payload)
        return node

    def _start(self, node: SimulatedNode) -> None:
        self._guard(node, node.start)

    def _guard(self, node: SimulatedNode, action: Action) -> None:
        """Run a node's code; a crash inside of it ends the process and plans the next."""
        try:
            action()
        except Crashed:
            self.crash(node)
        except (ConflictingSignature, SignStateRefused, JournalDamaged) as error:
            raise Violation(f"node {node.index} refuses to sign: {error!r}") from None
