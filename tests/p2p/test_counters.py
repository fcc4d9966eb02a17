"""Sums by name and label."""

from p2p.counters import Counters, merge


def test_counts_add_up_and_a_snapshot_stays_as_it_is() -> None:
    counters = Counters()
    counters.add("dropped", "late")
    counters.add("dropped", "late", 2)
    counters.add("refused", "chain")
    snapshot = counters.get_snapshot()
    counters.add("dropped", "late")
    assert snapshot == {"dropped": {"late": 3}, "refused": {"chain": 1}}
    assert merge(snapshot, {"dropped": {"full": 1, "late": 1}}) == {
        "dropped": {"late": 4, "full": 1},
        "refused": {"chain": 1},
    }
