"""Whole clusters from one seed each; `make simulate SEEDS=…` runs more of the same."""

from collections.abc import Callable

import pytest

from tests.simulation.byzantine.kinds import BYZANTINE
from tests.simulation.cluster import Cluster
from tests.simulation.scenario import LARGE, Scenario, make_scenario
from tests.simulation.variant import Variant

RUNS = 500
CHUNK = 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, RUNS, CHUNK))
def test_no_seed_violates(first: int) -> None:
    blocks = 0
    for seed in range(first, first + CHUNK):
        blocks += run(seed)
    assert blocks > CHUNK


@pytest.mark.slow
@pytest.mark.parametrize("seed", LARGE)
def test_no_large_network_violates(seed: int) -> None:
    assert make_scenario(seed).size == LARGE[seed]
    assert run(seed) > 5


def run(seed: int) -> int:
    try:
        return Cluster(make_scenario(seed), Variant()).run().height
    except AssertionError as violation:
        command = f"python -m tests.simulation --seeds 1 --first {seed}"
        raise AssertionError(f"seed {seed}: {violation}; repeat: {command}") from violation


def test_a_seed_repeats_exactly() -> None:
    runs = [Cluster(make_scenario(13), Variant()).run() for _ in range(2)]
    assert runs[0] == runs[1]


def test_seeds_cover_what_can_fail() -> None:
    scenarios = [make_scenario(seed) for seed in range(RUNS)]
    assert {scenario.size for scenario in scenarios} == set(range(1, 11))
    kinds = {kind for scenario in scenarios for kind in scenario.byzantine.values()}
    assert kinds == set(BYZANTINE)
    marks: tuple[Callable[[Scenario], object], ...] = (
        lambda scenario: scenario.wiped,
        lambda scenario: scenario.skewed,
        lambda scenario: scenario.crash_chance,
        lambda scenario: scenario.parting,
        lambda scenario: scenario.blackout,
        lambda scenario: scenario.closing_heights,
        lambda scenario: scenario.blackout and scenario.wiped,
        lambda scenario: scenario.twin is not None and scenario.twin.is_heard,
        lambda scenario: scenario.copied,
        lambda scenario: len(scenario.faulty) > 1,
        lambda scenario: scenario.ends_early,
        lambda scenario: scenario.idle,
        lambda scenario: any(node not in scenario.plan[0] for node in scenario.byzantine),
    )
    for has_it in marks:
        assert sum(bool(has_it(scenario)) for scenario in scenarios) >= 5
