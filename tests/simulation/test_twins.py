"""Two running copies of one key: heard, the copy stops; unheard, what it signs convicts it."""

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.scenario import Scenario, Twin
from tests.simulation.variant import Variant

EVERYBODY = ((0, 1, 2, 3),)
SEEDS = range(12)


def run_apart(seed: int, hearers: set[int], apart: int) -> Cluster:
    begin = 5_500 + 100 * seed
    twin = Twin(3, begin - 300, begin, frozenset(hearers), begin + apart)
    scenario = Scenario(seed, 4, EVERYBODY, twin=twin, stormy=begin + apart, calm=12_000)
    cluster = Cluster(scenario, Variant())
    cluster.run()
    return cluster


def test_a_copy_that_hears_too_few_signs_nothing() -> None:
    for seed in SEEDS:
        cluster = run_apart(seed, {2}, 3_000)
        assert not cluster.safety.contradicted
        assert cluster.nodes[0].store.state.members == (0, 1, 2, 3)
        assert [node.is_up for node in cluster.nodes] == [True] * 4 + [False]


@pytest.mark.parametrize("apart", [3_000, 30_000])
def test_two_that_voted_apart_take_their_key_out_or_do_not_both_go_on(apart: int) -> None:
    convictions = 0
    for seed in SEEDS:
        cluster = run_apart(seed, {0, 2}, apart)
        convictions += len(cluster.safety.convicted)
        is_out = 3 not in cluster.nodes[0].store.state.members
        assert is_out == bool(cluster.safety.convicted)
        assert is_out or not (cluster.nodes[3].is_up and cluster.nodes[4].is_up)
    assert convictions >= len(SEEDS) // 3


def test_a_heard_copy_stops_before_it_signs() -> None:
    for seed in SEEDS:
        twin = Twin(seed % 4, 4_000 + 150 * seed, 6_000)
        scenario = Scenario(seed, 4, EVERYBODY * 2, (6,), twin=twin, stormy=6_000, calm=9_000)
        cluster = Cluster(scenario, Variant())
        cluster.run()
        assert not cluster.safety.convicted
        assert [node.is_up for node in cluster.nodes] == [True] * 4 + [False]
