"""What one seed stands for: how many nodes, which fail and how, and for how long."""

from dataclasses import dataclass
from random import Random

from consensus.timing import Timing
from ledger.quorum import compute_fault_bound
from tests.simulation.network import Weather
from tests.simulation.signing import ED25519, STAND_IN, Scheme

BYZANTINE_KINDS = (
    "equivocator",
    "silent",
    "selective",
    "invalid",
    "twin_proposals",
    "forker",
    "boaster",
)
SIZES = (1, 2, 3, 4, 4, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class Scenario:
    """One run; times in ms."""

    seed: int
    size: int
    members: tuple[tuple[int, ...], ...]
    closing_heights: tuple[int, ...]
    byzantine: dict[int, str]
    wiped: frozenset[int]
    """Nodes that lose their disks once; they count as faulty."""
    weather: Weather
    crash_chance: float
    """For each step of a driver."""
    parting: bool
    blackout: bool
    """Whether every node loses its power at one instant: where one is to be wiped, at the worst
    one, when a block of that leader is final by votes that nobody has counted yet."""
    ends_early: bool
    """Whether the last work comes during the storm."""
    scheme: Scheme
    timing: Timing
    stormy: int = 7_000
    calm: int = 9_000
    idle: int = 0

    @property
    def faulty(self) -> frozenset[int]:
        """Nodes that break promises; at most f."""
        return frozenset(self.byzantine) | self.wiped


def make_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(seed)
    size = SIZES[seed % len(SIZES)]
    members, closing = _plan_epochs(random, size)
    budget = min(compute_fault_bound(len(epoch)) for epoch in members)
    always = [node for node in range(size) if all(node in epoch for epoch in members)]
    byzantine: dict[int, str] = {}
    wiped: frozenset[int] = frozenset()
    if budget and random.random() < 0.7:
        byzantine = {random.choice(always): random.choice(BYZANTINE_KINDS)}
    if budget > len(byzantine) and random.random() < 0.3:
        wiped = frozenset({random.choice([node for node in always if node not in byzantine])})
    weather = Weather(
        1,
        random.choice((30, 150, 400, 900)),
        random.choice((0.0, 0.05, 0.15, 0.3)),
        random.choice((0.0, 0.1, 0.3)),
    )
    stormy = 7_000
    if random.random() < 0.1:
        weather, stormy = Weather(1, 700, 0.6, 0.1), 30_000
    is_quiet = not byzantine and not wiped and random.random() < 0.3
    return Scenario(
        seed,
        size,
        members,
        closing,
        byzantine,
        wiped,
        weather,
        random.choice((0.0, 0.0, 0.001, 0.004, 0.01)),
        size > 1 and random.random() < 0.4,
        random.random() < 0.3,
        random.random() < 0.25,
        ED25519 if seed % 50 == 3 else STAND_IN,
        Timing(),
        stormy=stormy,
        idle=21_500 if is_quiet else 0,
    )


def _plan_epochs(random: Random, size: int) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Return the members of each epoch, and the heights of the last blocks of all but one."""
    everybody = tuple(range(size))
    if size == 1 or random.random() < 0.5:
        return (everybody,), ()
    closing = tuple(random.sample(range(1, 14), 3))
    if size < 5:
        return (everybody,) * 4, tuple(sorted(closing))
    # The last node joins with the second epoch, the first leaves with the third.
    members = (everybody[:-1], everybody, everybody[1:], everybody)
    return members, tuple(sorted(closing))
