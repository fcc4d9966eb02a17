"""A whole network in one loop: nodes, messages, timers, crashes and work, from one seed.

A run has two phases, and for some seeds a third: a stormy one (safety alone is demanded), a calm
one in which a healthy core must finish all work within the bound, and an idle one.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from consensus import effects
from consensus.messages import CommittedBlock, Message, Vote, decode_message, encode_message
from consensus.sign_state import ConflictingSignature
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block
from ledger.quorum import compute_fault_bound
from tests.simulation.byzantine.boaster import Boaster
from tests.simulation.byzantine.equivocator import Equivocator
from tests.simulation.byzantine.forker import Forker
from tests.simulation.byzantine.invalid import Invalid
from tests.simulation.byzantine.selective import Selective
from tests.simulation.byzantine.silent import Silent
from tests.simulation.byzantine.twin_proposals import TwinProposals
from tests.simulation.disk import SimulatedDisk
from tests.simulation.liveness import LivenessChecker, check_idle, compute_bound
from tests.simulation.network import CALM, SimulatedNetwork
from tests.simulation.node import Crashed, SimulatedNode, Store, Variant
from tests.simulation.safety import SafetyChecker, Violation
from tests.simulation.scenario import Scenario
from tests.simulation.signing import ED25519
from tests.simulation.world import World

BYZANTINE = {
    "equivocator": Equivocator,
    "silent": Silent,
    "selective": Selective,
    "invalid": Invalid,
    "forker": Forker,
    "boaster": Boaster,
    "twin_proposals": TwinProposals,
}
_ITEM_INTERVAL = 400
_RANGE = 64


@dataclass(frozen=True)
class Result:
    """What a run without a violation did."""

    events: int
    height: int
    crashes: int
    convicted: int
    slowest: int


class Cluster:
    """The surroundings of all nodes of one scenario."""

    def __init__(self, scenario: Scenario, variant: Variant) -> None:
        self.now = 1_000
        self._scenario = scenario
        self._random = Random(scenario.seed ^ 0x5EED)
        self._variant = variant
        seeds = tuple(Random(i).randbytes(32) for i in range(scenario.size))
        self.world = World(scenario.scheme, seeds, scenario.members, scenario.closing_heights)
        self._network = SimulatedNetwork(self._random, scenario.weather)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._counter = 0
        self._events = 0
        self._crashes = 0
        self._timers: dict[tuple[SimulatedNode, effects.Timer], int] = {}
        self._caught_up_at: dict[int, int] = {}
        self._items = 0
        honest = frozenset(range(scenario.size)) - frozenset(scenario.byzantine)
        self.safety = SafetyChecker(self.world, honest, scenario.wiped)
        fault_bound = max(compute_fault_bound(len(epoch)) for epoch in scenario.members)
        self.liveness = LivenessChecker(compute_bound(scenario.timing, fault_bound))
        self._is_calm = False
        self._honest = honest
        self._has_blacked_out = False
        self._stopped: set[int] = set()
        self._items_end = False
        self._storm_ends = 0
        self._finalizing: dict[Ballot, set[int]] = {}
        self._offsets = [self._random.randint(0, 10**6) for _ in range(scenario.size)]
        self._disks = [SimulatedDisk() for _ in range(scenario.size)]
        self._stores = [Store() for _ in range(scenario.size)]
        self.nodes = [self._make_node(index) for index in range(scenario.size)]

    def run(self) -> Result:
        """Run all phases. Raises `Violation`."""
        scenario = self._scenario
        for node in self.nodes:
            self._at(self.now + self._random.randint(0, 300), partial(self._start, node))
        self._at(self.now + 100, self._add_item)
        if scenario.parting:
            self._at(self.now + self._random.randint(500, 3_000), self._part)
        self._storm_ends = self.now + scenario.stormy
        if scenario.blackout and not scenario.wiped:
            self._at(self.now + self._random.randint(500, scenario.stormy - 500), self._black_out)
        for index in () if scenario.blackout else scenario.wiped:
            wiped_at = self.now + self._random.randint(1_000, scenario.stormy - 1_000)
            self._at(wiped_at, partial(self._wipe, index))
        self._run_until(self.now + scenario.stormy)
        self._calm_down()
        self._run_until(self.now + self.liveness.bound + 1)
        self._check_liveness()
        self._run_until(self._storm_ends + scenario.calm)
        self._check_liveness()
        if scenario.idle:
            self._run_idle()
        return Result(
            self._events,
            self.safety.committed,
            self._crashes,
            len(self.safety.convicted),
            self.liveness.slowest,
        )

    def _run_until(self, end: int) -> None:
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            self._events += 1
            action()
        self.now = end

    def _run_idle(self) -> None:
        self._items_end = True
        self._run_until(self.now + 2_500)
        since = max(node.committed_at[-1] for node in self.nodes) + 200
        end = since + self._scenario.idle
        self._run_until(end)
        check_idle(self.nodes, since, end, self._scenario.timing)

    def _at(self, time: int, action: Callable[[], None]) -> None:
        self._counter += 1
        heapq.heappush(self._queue, (time, self._counter, action))

    # --- The storm and its end -------------------------------------------------------------------

    def _make_node(self, index: int) -> SimulatedNode:
        kind = self._scenario.byzantine.get(index)
        make = SimulatedNode if kind is None else BYZANTINE[kind]
        node = make(
            index,
            self.world,
            self,
            self._scenario.timing,
            Random(self._random.random()),
            self._disks[index],
            self._stores[index],
            Variant() if kind else self._variant,
            self._offsets[index],
        )
        if kind is None and not self._is_calm:
            node.crash_chance = self._scenario.crash_chance
        node.known = self._items
        return node

    def _start(self, node: SimulatedNode) -> None:
        self._guard(node, node.start)

    def _guard(self, node: SimulatedNode, action: Callable[[], None]) -> None:
        """Run a node's code; a crash inside of it ends the process and plans the next."""
        try:
            action()
        except Crashed:
            self._crash(node)
        except ConflictingSignature as error:
            raise Violation(f"node {node.index} is kept from signing: {error}") from None

    def _crash(self, node: SimulatedNode) -> None:
        self._crashes += 1
        node.is_up = False
        self._disks[node.index].crash(self._random)
        self._at(self.now + self._random.randint(10, 2_000), lambda: self._restart(node.index))

    def _restart(self, index: int) -> None:
        old = self.nodes[index]
        if old.is_up or index in self._stopped:
            return
        node = self._make_node(index)
        node.nullified, node.committed_at = old.nullified, old.committed_at
        self.nodes[index] = node
        self._start(node)

    def _wipe(self, index: int) -> None:
        self.nodes[index].is_up = False
        self._disks[index].wipe()
        self._stores[index].committed.clear()
        self._stores[index].sequence = 0
        self._at(self.now + 500, lambda: self._restart(index))

    def _check_liveness(self) -> None:
        healthy = sorted(self._honest - self._stopped)
        self.liveness.check([self.nodes[index] for index in healthy], self.now)

    def _watch_for_worst_moment(self, message: Message) -> None:
        """Black out when the wiped leader's block has just been voted final by a quorum."""
        is_wanted = self._scenario.blackout and self._scenario.wiped and not self._is_calm
        if not is_wanted or self._has_blacked_out or not isinstance(message, Vote):
            return
        ballot = message.ballot
        if ballot.kind is not VoteKind.FINALIZE:
            return
        voters = self._finalizing.setdefault(ballot, set())
        voters.add(message.signer)
        committee = self.world.committees[ballot.epoch]
        leader = self.world.keys.index(committee.get_key(ballot.view % committee.size))
        if leader in self._scenario.wiped and len(voters) >= committee.quorum:
            self._has_blacked_out = True
            self._at(self.now, self._black_out)
            self._at(self.now, partial(self._wipe, leader))

    def _black_out(self) -> None:
        for node in self.nodes:
            if node.is_up:
                self._crash(node)

    def _part(self) -> None:
        self._network.part({i: self._random.randint(0, 1) for i in range(self._scenario.size)})
        self._at(self.now + self._random.randint(500, 3_000), lambda: self._network.part({}))

    def _calm_down(self) -> None:
        self._is_calm = True
        self._network.weather = CALM
        self._network.part({})
        for node in self.nodes:
            node.crash_chance = 0.0
            if not node.is_up:
                self._restart(node.index)
        self.liveness.on_item(self._items, self.now)
        self._check_liveness()

    def _add_item(self) -> None:
        is_early = self._scenario.ends_early and self.now > self._storm_ends - 1_000
        if self._items_end or is_early:
            return
        self._items += 1
        number = self._items
        for node in self.nodes:
            self._at(
                self.now + self._random.randint(0, 60), partial(self._tell, node.index, number)
            )
        if self._is_calm:
            self.liveness.on_item(number, self.now)
            self._check_liveness()
        self._at(self.now + _ITEM_INTERVAL, self._add_item)

    def _tell(self, index: int, number: int) -> None:
        node = self.nodes[index]
        self._guard(node, lambda: node.learn(number))

    # --- What nodes ask of their surroundings ----------------------------------------------------

    def send(self, sender: int, receiver: int, message: Message) -> None:
        """Carry a message as the weather permits."""
        self.safety.on_sent(self.nodes[sender], message, self.now)
        self._carry(sender, receiver, message)

    def broadcast(self, sender: int, message: Message) -> None:
        """Carry a message to everybody else."""
        self._watch_for_worst_moment(message)
        self.safety.on_sent(self.nodes[sender], message, self.now)
        for receiver in range(self._scenario.size):
            if receiver != sender:
                self._carry(sender, receiver, message)

    def _carry(self, sender: int, receiver: int, message: Message) -> None:
        if self._scenario.scheme is ED25519:
            message = decode_message(encode_message(message))
        for time in self._network.compute_arrivals(sender, receiver, self.now):
            self._at(time, lambda: self._deliver(sender, receiver, message))

    def _deliver(self, sender: int, receiver: int, message: Message) -> None:
        node = self.nodes[receiver]
        if node.is_up:
            self._guard(node, lambda: node.receive(sender, message))

    def set_timer(self, node: SimulatedNode, timer: effects.Timer, at: int) -> None:
        """Replace a node's timer."""
        self._timers[(node, timer)] = at
        self._at(at, lambda: self._fire(node, timer, at))

    def _fire(self, node: SimulatedNode, timer: effects.Timer, at: int) -> None:
        if node.is_up and self._timers.get((node, timer)) == at:
            self._guard(node, lambda: node.fire(timer))

    def fetch(self, node: SimulatedNode, block_hash: bytes, holders: tuple[int, ...]) -> None:
        """Ask one holder for a block."""
        others = [holder for holder in holders if holder != node.index]
        others = others or [i for i in range(self._scenario.size) if i != node.index]
        holder = self._random.choice(others)
        for time in self._network.compute_arrivals(node.index, holder, self.now):
            self._at(time, lambda: self._serve(node, holder, block_hash))

    def _serve(self, asker: SimulatedNode, holder: int, block_hash: bytes) -> None:
        node = self.nodes[holder]
        block = node.serve_block(block_hash) if node.is_up else None
        if block is not None:
            for time in self._network.compute_arrivals(holder, asker.index, self.now):
                self._at(time, lambda: self._hand_over(asker, block))

    def _hand_over(self, node: SimulatedNode, block: Block) -> None:
        if node.is_up:
            self._guard(node, lambda: node.receive_block(block))

    def catch_up(self, node: SimulatedNode) -> None:
        """Fetch final blocks in a range of one peer."""
        if self.now < self._caught_up_at.get(node.index, 0) + 200:
            return
        self._caught_up_at[node.index] = self.now
        peer = self._random.choice([i for i in range(self._scenario.size) if i != node.index])
        for time in self._network.compute_arrivals(node.index, peer, self.now):
            self._at(time, lambda: self._send_range(node, peer))

    def _send_range(self, asker: SimulatedNode, peer: int) -> None:
        height = len(asker.store.committed)
        blocks = self.nodes[peer].store.committed[height : height + _RANGE]
        for time in self._network.compute_arrivals(peer, asker.index, self.now):
            self._at(time, lambda: self._take_range(asker, blocks))

    def _take_range(self, node: SimulatedNode, blocks: list[CommittedBlock]) -> None:
        if node.is_up:
            self._guard(node, lambda: node.take_range(blocks))

    def on_commit(self, node: SimulatedNode, committed: CommittedBlock) -> None:
        """A block became final at a node."""
        node.committed_at.append(self.now)
        self.safety.on_commit(node, committed)
        if self._is_calm:
            self._check_liveness()

    def on_evidence(self, node: SimulatedNode, report: effects.ReportEvidence) -> None:
        """A node convicts another."""
        self.safety.on_evidence(report.evidence)

    def on_stop(self, node: SimulatedNode, stop: effects.Stop) -> None:
        """A node stops itself: never one that did nothing wrong."""
        is_wiped = node.index in self._scenario.wiped
        if is_wiped and stop.reason is effects.StopReason.OWN_KEY_ELSEWHERE:
            # It cannot tell what it signed before it forgot from another copy of its key.
            node.is_up = False
            self._stopped.add(node.index)
        elif node.index in self._honest:
            raise Violation(f"node {node.index} stops: {stop.reason.value}: {stop.detail}")
