"""What one seed stands for: how many nodes, which fail and how, and for how long."""

from dataclasses import dataclass, field
from random import Random

from consensus.timing import Timing
from ledger.quorum import compute_fault_bound
from tests.simulation.byzantine.kinds import BYZANTINE
from tests.simulation.network import Weather
from tests.simulation.signing import ED25519, STAND_IN, Scheme

SIZES = (1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 7, 8, 9, 10)
LARGE = {700: 31, 4_700: 100}
"""Of each 5,000 seeds, which are of how many nodes."""
HOUR = 3_600_000
_FAULTS = ("byzantine", "byzantine", "byzantine", "byzantine", "wiped", "skewed", "copied")


@dataclass(frozen=True)
class Twin:
    """A copy of one node's data folder, started while the original runs; times from the start."""

    node: int
    copied_at: int
    started_at: int
    hearers: frozenset[int] = frozenset()
    """Nodes that hear the copy and not the original until `parted_until`."""
    parted_until: int = 0

    @property
    def is_heard(self) -> bool:
        """Tell whether the two can hear each other."""
        return not self.parted_until


@dataclass(frozen=True)
class Scenario:
    """One run; times in ms."""

    seed: int
    size: int
    plan: tuple[tuple[int, ...], ...]
    """Members of each authority set, before convictions."""
    closing_heights: tuple[int, ...] = ()
    byzantine: dict[int, str] = field(default_factory=dict)
    wiped: frozenset[int] = frozenset()
    """Nodes that lose their disks once; they count as faulty."""
    skewed: dict[int, int] = field(default_factory=dict)
    """How wrong the wall clocks of some nodes go; they count as faulty and stay honest."""
    twin: Twin | None = None
    weather: Weather = Weather(2, 40)
    crash_chance: float = 0.0
    """For each step of a driver."""
    parting: bool = False
    blackout: bool = False
    """Whether every node loses its power at one instant: where one is to be wiped, at the worst
    one, when a block of that leader is final by votes that nobody has counted yet."""
    ends_early: bool = False
    """Whether the last work comes during the storm."""
    scheme: Scheme = STAND_IN
    timing: Timing = Timing()
    stormy: int = 7_000
    calm: int = 9_000
    idle: int = 0

    @property
    def faulty(self) -> frozenset[int]:
        """Nodes that break promises; at most f."""
        nodes = frozenset(self.byzantine) | self.wiped | frozenset(self.skewed)
        return nodes | self.copied

    @property
    def copied(self) -> frozenset[int]:
        """The node whose copy may sign beside it unheard."""
        is_faulty = self.twin is not None and not self.twin.is_heard
        return frozenset({self.twin.node}) if self.twin and is_faulty else frozenset()


def make_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(seed)
    large = LARGE.get(seed % 5_000)
    if large is not None:
        return _make_large(seed, random, large)
    size = SIZES[seed % len(SIZES)]
    plan, closing = _plan_sets(random, size)
    faults = _choose_faults(random, plan)
    weather = Weather(
        1,
        random.choice((30, 150, 400, 900)),
        random.choice((0.0, 0.05, 0.15, 0.3)),
        random.choice((0.0, 0.1, 0.3)),
    )
    stormy = 7_000
    if random.random() < 0.1:
        weather, stormy = Weather(1, 700, 0.6, 0.1), 30_000
    twin = _plan_twin(random, plan, faults, stormy)
    is_quiet = not faults and twin is None and random.random() < 0.4
    ends_early = twin is None and random.random() < 0.25
    return Scenario(
        seed,
        size,
        plan,
        closing,
        _pick_kinds(random, faults),
        frozenset(node for node, fault in faults.items() if fault == "wiped"),
        {n: random.choice((-HOUR, HOUR)) for n, fault in faults.items() if fault == "skewed"},
        twin,
        weather,
        random.choice((0.0, 0.0, 0.001, 0.004, 0.01)),
        size > 1 and random.random() < 0.4,
        random.random() < 0.3,
        ends_early,
        ED25519 if seed % 50 == 3 else STAND_IN,
        stormy=stormy,
        idle=21_500 if is_quiet else 0,
    )


def _make_large(seed: int, random: Random, size: int) -> Scenario:
    """Return a short run of very many."""
    everybody = tuple(range(size))
    liars = random.sample(everybody[1:], 3)
    return Scenario(
        seed,
        size,
        (everybody[:-1], everybody, everybody[1:]),
        (2, 5),
        {node: random.choice(list(BYZANTINE)) for node in liars},
        weather=Weather(1, 150, 0.05, 0.05),
        parting=True,
        stormy=2_500,
        calm=2_500,
    )


def _plan_sets(random: Random, size: int) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Return the members of each authority set, and the heights of the last blocks of all but one.

    Half of the chains have one set. Of the others some only count epochs, in some a node joins and
    another leaves, and in some the sets have little in common.
    """
    everybody = tuple(range(size))
    if size == 1 or random.random() < 0.5:
        return (everybody,), ()
    closing = tuple(sorted(random.sample(range(1, 14), 3)))
    way = random.random()
    if way < 0.3:
        return (everybody,) * 4, closing
    if way < 0.6:
        joins, leaves = random.sample(everybody, 2)
        before = tuple(node for node in everybody if node != joins)
        after = tuple(node for node in everybody if node != leaves)
        return (before, everybody, after, everybody), closing
    smallest = min(4, size)
    plan = [random.sample(everybody, random.randint(smallest, size)) for _ in range(4)]
    return tuple(tuple(members) for members in plan), closing


def _choose_faults(random: Random, plan: tuple[tuple[int, ...], ...]) -> dict[int, str]:
    """Return which nodes fail and how: of no set more than it bears."""
    faults: dict[int, str] = {}
    size = max(max(members) for members in plan) + 1
    for node in random.sample(range(size), size):
        hit = [members for members in plan if node in members]
        is_borne = all(
            sum(other in faults for other in members) < compute_fault_bound(len(members))
            for members in hit
        )
        if hit and is_borne and random.random() < 0.55:
            can_copy = "copied" not in faults.values()
            faults[node] = random.choice(_FAULTS if can_copy else _FAULTS[:-1])
    return faults


def _pick_kinds(random: Random, faults: dict[int, str]) -> dict[int, str]:
    liars = [node for node, fault in faults.items() if fault == "byzantine"]
    return {node: random.choice(list(BYZANTINE)) for node in liars}


def _plan_twin(
    random: Random, plan: tuple[tuple[int, ...], ...], faults: dict[int, str], stormy: int
) -> Twin | None:
    """Return the copy of the copied node, or for some seeds one that a healthy authority hears."""
    for node in (node for node, fault in faults.items() if fault == "copied"):
        copied_at = random.randint(500, stormy - 1_000)
        started_at = copied_at + random.randint(0, 1_000)
        others = [other for other in range(max(map(max, plan)) + 1) if other != node]
        hearers = frozenset(random.sample(others, random.randint(0, len(others))))
        return Twin(node, copied_at, started_at, hearers, stormy)
    always = [n for n in plan[0] if n not in faults and all(n in members for members in plan)]
    if not always or max(map(len, plan)) == 1 or random.random() < 0.75:
        return None
    return Twin(random.choice(always), random.randint(500, stormy), stormy)
