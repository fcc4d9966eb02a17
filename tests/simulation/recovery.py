"""How long four authorities stand still when some fail, in simulated time: no disk, no processor.

`python -m tests.simulation.recovery` prints the figures. What the protocol's own times take is all
that shows here; a real node adds its process's start, its disk and its proofs.
"""

from itertools import pairwise

from tests.simulation.cluster import Cluster
from tests.simulation.network import Weather
from tests.simulation.node import SimulatedNode
from tests.simulation.scenario import Scenario
from tests.simulation.variant import Variant

LOCAL = Weather(1, 5)
WORK_INTERVAL = 50
SETTLED = 10_000
"""When the network has started and knows its silent leaders."""


class Trial(Cluster):
    """Four authorities with steady work, some of which are killed and started by hand."""

    def __init__(self, seed: int) -> None:
        super().__init__(Scenario(seed, 4, ((0, 1, 2, 3),), weather=LOCAL), Variant())
        self.processes.start_all(100)
        self._keep_working()
        self.schedule.run_until(SETTLED)

    def _keep_working(self) -> None:
        self.add_work()
        self.schedule.at(self.now + WORK_INTERVAL, self._keep_working)

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.schedule.run_until(self.now + milliseconds)

    def kill(self, *places: int) -> None:
        """End processes as kill -9 does."""
        for place in places:
            self.processes.kill(self.nodes[place])

    def start(self, *places: int) -> None:
        """Start processes that are down."""
        for place in places:
            self.processes.restart(place)

    def measure_next_block(self, node: SimulatedNode) -> int:
        """Return how many ms from now a node commits its next new block."""
        began, height = self.now, self.safety.committed
        while node.store.state.height <= height:
            self.wait(1)
        return self.now - began


def measure_gaps(seed: int) -> tuple[int, int]:
    """Return the mean and the longest time between blocks in 30 s, from the death of one of 4."""
    trial = Trial(seed)
    trial.wait(seed * 97 % 2_000)
    times = trial.nodes[1].committed_at
    trial.kill(0)
    began = len(times) - 1
    trial.wait(30_000)
    gaps = [later - earlier for earlier, later in pairwise(times[began:])]
    return sum(gaps) // len(gaps), max(gaps)


def measure_rejoining(seed: int) -> int:
    """Return how long one that was down for 10 s needs until it has the others' newest block."""
    trial = Trial(seed)
    trial.kill(0)
    trial.wait(10_000 + seed * 97 % 2_000)
    trial.start(0)
    began, behind = trial.now, trial.nodes[0]
    while behind.store.state.height < trial.nodes[1].store.state.height:
        trial.wait(1)
    return trial.now - began


def measure_lost_quorum(seed: int) -> int:
    """Return when the next block comes after two of four were down for 25 s and start again."""
    trial = Trial(seed)
    trial.wait(seed * 97 % 2_000)
    trial.kill(0, 1)
    trial.wait(25_000)
    trial.start(0, 1)
    return trial.measure_next_block(trial.nodes[2])


def measure_division(seed: int) -> int:
    """Return when the next block comes after a division into halves of 25 s."""
    trial = Trial(seed)
    trial.wait(seed * 97 % 2_000)
    trial.network.part({place: place // 2 for place in range(4)})
    trial.wait(25_000)
    trial.network.part({})
    return trial.measure_next_block(trial.nodes[2])


def measure_all_killed(seed: int) -> int:
    """Return when the next block comes after all four were killed at one instant and start."""
    trial = Trial(seed)
    trial.wait(seed * 97 % 2_000)
    trial.kill(0, 1, 2, 3)
    trial.wait(1_000)
    trial.start(0, 1, 2, 3)
    return trial.measure_next_block(trial.nodes[2])


def main() -> None:
    """Print the worst of many trials of each kind."""
    seeds = range(40)
    gaps = [measure_gaps(seed) for seed in seeds]
    print(f"1 of 4 killed: mean gap {max(mean for mean, _ in gaps)} ms", end="")
    print(f", longest {max(longest for _, longest in gaps)} ms")
    for name, measure in (
        ("rejoins after", measure_rejoining),
        ("2 of 4 down 25 s, block after", measure_lost_quorum),
        ("2|2 for 25 s, block after", measure_division),
        ("all killed, block after", measure_all_killed),
    ):
        times = sorted(measure(seed) for seed in seeds)
        print(f"{name} {times[len(times) // 2]} ms, at worst {times[-1]} ms")


if __name__ == "__main__":
    main()
