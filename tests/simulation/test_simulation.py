"""Whole clusters from one seed each; `make simulate SEEDS=…` runs more of the same."""

from collections.abc import Callable

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.node import Variant
from tests.simulation.scenario import BYZANTINE_KINDS, Scenario, make_scenario

RUNS = 200
CHUNK = 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, RUNS, CHUNK))
def test_no_seed_violates(first: int) -> None:
    blocks = 0
    for seed in range(first, first + CHUNK):
        try:
            blocks += Cluster(make_scenario(seed), Variant()).run().height
        except AssertionError as violation:
            raise AssertionError(f"seed {seed}: {violation}") from violation
    assert blocks > CHUNK


def test_a_seed_repeats_exactly() -> None:
    runs = [Cluster(make_scenario(13), Variant()).run() for _ in range(2)]
    assert runs[0] == runs[1]


def test_seeds_cover_what_can_fail() -> None:
    scenarios = [make_scenario(seed) for seed in range(RUNS)]
    assert {scenario.size for scenario in scenarios} == set(range(1, 9))
    kinds = {kind for scenario in scenarios for kind in scenario.byzantine.values()}
    assert kinds == set(BYZANTINE_KINDS)
    marks: tuple[Callable[[Scenario], object], ...] = (
        lambda scenario: scenario.wiped,
        lambda scenario: scenario.crash_chance,
        lambda scenario: scenario.parting,
        lambda scenario: scenario.blackout,
        lambda scenario: scenario.closing_heights,
        lambda scenario: scenario.blackout and scenario.wiped,
        lambda scenario: scenario.ends_early,
        lambda scenario: scenario.idle,
    )
    for has_it in marks:
        assert sum(bool(has_it(scenario)) for scenario in scenarios) >= 5
