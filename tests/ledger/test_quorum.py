import pytest

from ledger.quorum import compute_fault_bound, compute_quorum


@pytest.mark.parametrize(
    ("size", "fault_bound", "quorum"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 5), (7, 2, 5), (100, 33, 67)],
)
def test_known_sizes(size: int, fault_bound: int, quorum: int) -> None:
    assert (compute_fault_bound(size), compute_quorum(size)) == (fault_bound, quorum)


@pytest.mark.parametrize("size", range(1, 101))
def test_two_quorums_share_an_honest_member(size: int) -> None:
    assert 2 * compute_quorum(size) - size > compute_fault_bound(size)
    assert compute_quorum(size) <= size - compute_fault_bound(size)
