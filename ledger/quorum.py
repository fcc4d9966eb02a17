"""How many votes decide: the fault bound and the quorum of n authorities (rule C1)."""


def compute_fault_bound(size: int) -> int:
    """Return f, the number of arbitrarily faulty authorities that `size` of them bear."""
    assert size >= 1
    return (size - 1) // 3


def compute_quorum(size: int) -> int:
    """Return n - f, the number of distinct authorities whose votes make a certificate."""
    return size - compute_fault_bound(size)
