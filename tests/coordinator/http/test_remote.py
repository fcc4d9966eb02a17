from pathlib import Path

import pytest

from coordinator.http.remote import choose_address
from coordinator.settings import RateLimits
from tests.support.world import open_world


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_who_asks(peer: str | None, said: list[str], found: str | None) -> None:
    assert choose_address(peer, said) == found


async def test_behind_a_proxy_each_address_has_its_own_limit(tmp_path: Path) -> None:
    limits = RateLimits(public_per_minute=2)
    async with open_world(tmp_path, is_dev=False, rate_limits=limits) as world:
        for address, status in (("7", 200), ("7", 200), ("7", 429), ("8", 200)):
            headers = {"X-Forwarded-For": f"192.0.2.9, 203.0.113.{address}"}
            reply = await world.call("GET", "/v1/registry/services", headers=headers)
            assert reply.status == status
        await world.call("DELETE", "/v1/jobs/job_0", "client", headers=headers)
        log = await world.call("GET", "/v1/audit/log", "operator")
        assert [entry["remote"] for entry in log.json["entries"]] == ["203.0.113.8"]
