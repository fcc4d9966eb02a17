import pytest

from coordinator.http.problems import Problem
from coordinator.http.rate_limits import RateLimiter
from coordinator.http.routing import Bucket
from coordinator.settings import RateLimits
from tests.support.world import World


async def test_the_next_one_is_refused_and_told_when() -> None:
    limiter = RateLimiter(RateLimits(per_minute=2, per_hour=3), is_public_bounded=True)
    first = await limiter.count(Bucket.NORMAL, "a")
    assert first["RateLimit-Policy"] == '"minute";q=2;w=60, "hour";q=3;w=3600'
    assert first["RateLimit"].startswith('"minute";r=1;t=')
    await limiter.count(Bucket.NORMAL, "a")
    with pytest.raises(Problem) as caught:
        await limiter.count(Bucket.NORMAL, "a")
    assert (caught.value.status, caught.value.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 3_600
    await limiter.count(Bucket.NORMAL, "b")
    await limiter.count(Bucket.POLLING, "a")


async def test_what_has_no_bound() -> None:
    off = RateLimiter(RateLimits(is_enabled=False, per_minute=1), is_public_bounded=True)
    dev = RateLimiter(RateLimits(public_per_minute=1), is_public_bounded=False)
    for _ in range(3):
        assert await off.count(Bucket.NORMAL, "a") == {}
        assert await dev.count(Bucket.PUBLIC, "a") == {}
        assert await dev.count(Bucket.NONE, "a") == {}


async def test_reads_of_ones_own_do_not_use_up_the_minute(world: World) -> None:
    reply = await world.call("GET", "/v1/jobs", "client")
    assert '"polling";q=600;w=60' in reply.headers["RateLimit-Policy"]
    reply = await world.call("POST", "/v1/jobs", "client", {})
    assert reply.status == 422
    assert reply.headers["RateLimit"].startswith('"minute";r=59;')
    for _ in range(59):
        await world.call("POST", "/v1/jobs", "client", {})
    reply = await world.call("POST", "/v1/jobs", "client", {})
    assert (reply.status, reply.json["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert reply.headers["Retry-After"]
    assert (await world.call("GET", "/v1/jobs", "client")).status == 200
    assert (await world.call("POST", "/v1/jobs", "other", {})).status == 422
