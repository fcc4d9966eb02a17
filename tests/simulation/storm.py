"""What fails in a run and when: divisions, blackouts, wiped disks, wrong clocks, copied folders."""

from functools import partial
from random import Random

from consensus.journal import decode_journal
from consensus.messages import Message, Vote
from ledger.ballots import Ballot, VoteKind
from tests.simulation.disk import SimulatedDisk
from tests.simulation.host import Store
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.processes import Processes
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Schedule
from tests.simulation.world import CHAIN_ID, World


class Storm:
    """The troubles of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: Schedule,
        network: SimulatedNetwork,
        random: Random,
        world: World,
        processes: Processes,
    ) -> None:
        self._scenario = scenario
        self._schedule = schedule
        self._network = network
        self._random = random
        self._world = world
        self._processes = processes
        self._has_blacked_out = False
        self._finalizing: dict[Ballot, set[int]] = {}
        self._folder: tuple[SimulatedDisk, Store] | None = None

    def begin(self) -> None:
        """Plan everything that fails at a time fixed before."""
        scenario, now = self._scenario, self._schedule.now
        if scenario.parting:
            self._schedule.at(now + self._random.randint(500, 3_000), self._part)
        if scenario.blackout and not scenario.wiped:
            at = now + self._random.randint(500, scenario.stormy - 500)
            self._schedule.at(at, self._black_out)
        for index in () if scenario.blackout else sorted(scenario.wiped):
            at = now + self._random.randint(1_000, scenario.stormy - 1_000)
            self._schedule.at(at, partial(self._wipe, index))
        for index, skew in scenario.skewed.items():
            at = now + self._random.randint(0, scenario.stormy)
            self._schedule.at(at, partial(self._set_clock, index, skew))
        if scenario.twin is not None:
            self._schedule.at(now + scenario.twin.copied_at, self._copy)

    def watch(self, message: Message) -> None:
        """Black out when the wiped leader's block has just been voted final by a quorum."""
        scenario, world = self._scenario, self._world
        is_wanted = scenario.blackout and scenario.wiped and not self._processes.is_calm
        if not is_wanted or self._has_blacked_out or not isinstance(message, Vote):
            return
        ballot = message.ballot
        if ballot.kind is not VoteKind.FINALIZE:
            return
        voters = self._finalizing.setdefault(ballot, set())
        voters.add(message.signer)
        committee = world.committees[ballot.epoch]
        leader = world.keys.index(committee.get_key(ballot.view % committee.size))
        if leader in scenario.wiped and len(voters) >= committee.quorum:
            self._has_blacked_out = True
            self._schedule.at(self._schedule.now, self._black_out)
            self._schedule.at(self._schedule.now, partial(self._wipe, leader))

    def is_copy_signed(self) -> bool:
        """Tell whether the journal of the copied folder holds a signature."""
        assert self._scenario.twin is not None and self._folder is not None
        key = self._world.keys[self._scenario.twin.node]
        journal = decode_journal(self._folder[0].durable, CHAIN_ID, key)
        return journal is not None and (journal.head.has_signed or len(journal.entries) > 0)

    def start_copy(self) -> SimulatedNode:
        """Start the copied folder."""
        twin, folder = self._scenario.twin, self._folder
        assert twin is not None and folder is not None
        disk, store = folder
        return self._processes.add_copy(twin.node, disk, store)

    def _part(self) -> None:
        """Divide the network for a while, at times only one way and for one place."""
        places = range(len(self._processes.nodes))
        if self._random.random() < 0.3:
            alone, is_deaf = self._random.choice(places), self._random.random() < 0.5
            cut = [(place, alone) if is_deaf else (alone, place) for place in places]
            self._network.part({}, cut)
        else:
            self._network.part({place: self._random.randint(0, 1) for place in places})
        self._schedule.at(self._schedule.now + self._random.randint(500, 3_000), self._heal)

    def _heal(self) -> None:
        self._network.part({})

    def _black_out(self) -> None:
        for node in self._processes.nodes:
            if node.is_up:
                self._processes.crash(node)

    def _wipe(self, index: int) -> None:
        host = self._processes.nodes[index].host
        self._processes.nodes[index].is_up = False
        host.disk.wipe()
        host.store = Store(self._world.genesis)
        self._schedule.at(self._schedule.now + 500, lambda: self._processes.restart(index))

    def _set_clock(self, index: int, skew: int) -> None:
        self._processes.nodes[index].host.skew = skew

    def _copy(self) -> None:
        """Copy a data folder, and start the copy where the original does not hear it."""
        twin = self._scenario.twin
        assert twin is not None
        host = self._processes.nodes[twin.node].host
        self._folder = SimulatedDisk(host.disk.durable), host.store.copy()
        if not twin.is_heard:
            later = twin.started_at - twin.copied_at
            self._schedule.at(self._schedule.now + later, self._start_unheard)

    def _start_unheard(self) -> None:
        twin = self._scenario.twin
        assert twin is not None
        sides = {place: int(place in twin.hearers) for place in range(self._scenario.size)}
        sides[len(self._processes.nodes)] = 1
        self._network.part(sides)
        self.start_copy()
