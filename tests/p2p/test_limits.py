"""A rate with a burst, and limits that fit together."""

import pytest

from p2p.interface import MAX_ANSWER_BYTES, MAX_FRAME_BYTES, MAX_QUESTION_BYTES
from p2p.limits import (
    AUTHORITY_LIMITS,
    AUTHORITY_POOL_BYTES,
    CONTROL,
    FRAME_LIMITS,
    LANE_NAMES,
    LANES,
    OBSERVER_LIMITS,
    OBSERVER_POOL_BYTES,
    OUTGOING_BYTES,
    WINDOWS,
    PeerLimits,
    Rate,
    RateLimiter,
    TokenBucket,
    compute_cost,
)


def test_what_is_over_the_burst_is_waited_for() -> None:
    bucket = TokenBucket(10, 20, 0.0)
    assert bucket.take(20, 0.0) == 0
    assert bucket.take(5, 0.0) == pytest.approx(0.5)
    assert bucket.take(5, 0.5) == pytest.approx(0.5)
    assert bucket.take(1, 100.0) == 0
    assert bucket.take(20, 100.0) == pytest.approx(0.1)


def test_what_is_refused_costs_nothing() -> None:
    bucket = TokenBucket(10, 20, 0.0)
    assert [bucket.try_take(10, 0.0) for _ in range(5)] == [True, True, False, False, False]
    assert bucket.try_take(10, 1.0)


def test_a_peer_is_held_to_bytes_and_to_frames() -> None:
    many_small, few_long = RateLimiter(Rate(1000, 10), 0.0), RateLimiter(Rate(1000, 10), 0.0)
    assert many_small.take(30, 30, 0.0) == pytest.approx(1.0)
    assert few_long.take(1, 3000, 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("limits", [AUTHORITY_LIMITS, OBSERVER_LIMITS])
def test_every_stream_has_every_limit(limits: PeerLimits) -> None:
    assert set(limits.rates) == set(limits.incoming_bytes) == set(LANES)
    assert set(FRAME_LIMITS) == set(WINDOWS) == set(OUTGOING_BYTES) == set(LANE_NAMES) == set(LANES)


def test_the_longest_frames_fit_everywhere() -> None:
    assert FRAME_LIMITS[CONTROL] > MAX_ANSWER_BYTES > MAX_QUESTION_BYTES
    for lane, limit in FRAME_LIMITS.items():
        assert OUTGOING_BYTES[lane] >= compute_cost(bytes(limit))
    assert max(FRAME_LIMITS.values()) < OBSERVER_POOL_BYTES < AUTHORITY_POOL_BYTES
    assert all(FRAME_LIMITS[lane] >= limit for lane, limit in MAX_FRAME_BYTES.items())
