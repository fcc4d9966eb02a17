"""The time on a lease: never before the claim, never back, whatever our own clock says."""

import msgspec
import pytest

from miner.clock import LeaseClock
from tests.miner.samples import LEASE, NOW


@pytest.mark.parametrize("error", [-(10**9), 0, 10**9])
def test_a_wrong_clock_changes_nothing(error: int) -> None:
    moments = iter([5.0, 5.0, 7.5])
    lease = msgspec.structs.replace(LEASE, received_at=NOW + error)
    clock = LeaseClock(lease, wall=lambda: NOW + error, monotonic=lambda: next(moments))
    assert clock.read() == LEASE.claimed_at
    assert clock.read() == LEASE.claimed_at + 2_500


def test_after_a_restart_the_time_in_between_counts() -> None:
    clock = LeaseClock(LEASE, wall=lambda: NOW + 4_000, monotonic=lambda: 0.0)
    assert clock.read() == LEASE.claimed_at + 4_000


def test_a_clock_that_was_put_back_does_not_go_before_the_claim() -> None:
    clock = LeaseClock(LEASE, wall=lambda: NOW - 4_000, monotonic=lambda: 0.0)
    assert clock.read() == LEASE.claimed_at


def test_a_lease_that_was_long_on_its_way_is_as_old_as_the_chain_says() -> None:
    lease = msgspec.structs.replace(LEASE, head=NOW + 20_000)
    assert LeaseClock(lease, wall=lambda: NOW, monotonic=lambda: 0.0).read() == NOW + 20_000
    older = msgspec.structs.replace(LEASE, head=NOW - 20_000)
    assert LeaseClock(older, wall=lambda: NOW, monotonic=lambda: 0.0).read() == NOW
