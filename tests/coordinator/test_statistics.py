import msgspec

from coordinator.statistics import compute_figures
from ledger.entries import Miner

NEW = Miner(bytes(20), bytes(32), b"", 1, True, 0)


def test_a_newcomer_stands_in_the_middle() -> None:
    assert compute_figures(NEW) == (2.5, 0.0, 0.0)


def test_figures_follow_from_the_outcomes_alone() -> None:
    miner = msgspec.structs.replace(
        NEW, settled=98, failed=1, lapsed=1, released=50, cancelled=50, busy_time=98_000
    )
    figures = compute_figures(miner)
    assert figures.success_rate == 0.98
    assert figures.average_completion_time == 1.0
    assert 4.8 < figures.reputation < 5
