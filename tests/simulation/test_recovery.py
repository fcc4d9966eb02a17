"""The protocol's own times leave room below what a network of four is held to."""

from tests.simulation import recovery

SEEDS = range(6)


def test_gaps_with_one_of_four_dead() -> None:
    gaps = [recovery.measure_gaps(seed) for seed in SEEDS]
    assert max(mean for mean, _ in gaps) <= 700
    assert max(longest for _, longest in gaps) <= 1_300


def test_a_restarted_authority_is_soon_at_the_tip() -> None:
    assert max(map(recovery.measure_rejoining, SEEDS)) <= 1_000


def test_the_next_block_comes_soon_after_a_standstill() -> None:
    assert max(map(recovery.measure_lost_quorum, SEEDS)) <= 1_000
    assert max(map(recovery.measure_division, SEEDS)) <= 500
    assert max(map(recovery.measure_all_killed, SEEDS)) <= 1_000
