import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import pytest
import websockets
from sqlalchemy import Connection

from coordinator import updates
from coordinator.http.live_messages import KEY_PROTOCOL, PROTOCOL, Close
from coordinator.ports import Storage
from coordinator.principals import make_key as make_api_key
from coordinator.settings import LiveLimits
from coordinator.update_data import JobUpdate, MarketplaceUpdate
from coordinator.updates import UpdateType
from tests.support.live import check, connect
from tests.support.world import World, open_world

T = TypeVar("T")
BODY = {"prompt": "a secret prompt", "max_cost": "0.5"}


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_a_key_is_taken_in_a_header_beside_the_subprotocol_or_in_the_first_message(
    world: World, path: str
) -> None:
    key = world.people["client"].key
    for headers in ({"X-Api-Key": key}, {"Authorization": f"Bearer {key}"}):
        async with connect(world, path=path, headers=headers) as client:
            assert (await client.read_greeting())["data"]["role"] == "client"
    protocols = (PROTOCOL, KEY_PROTOCOL + key)
    async with connect(world, path=path, protocols=protocols) as client:
        await client.read_greeting()
        assert client.socket.protocol == PROTOCOL, "a key is never sent back"
    async with connect(world, path=path) as client:
        await client.say(type="authenticate", api_key=key)
        await client.read_greeting()
        await client.say(type="authenticate", api_key=key)
        assert (await client.read())["data"]["code"] == "ALREADY_AUTHENTICATED"


async def test_another_library_connects_in_the_same_three_ways(world: World) -> None:
    url, key = world.url.replace("http", "ws") + "/ws", world.people["client"].key
    ways: list[dict[str, Any]] = [
        {"additional_headers": {"X-Api-Key": key}},
        {"subprotocols": [PROTOCOL, KEY_PROTOCOL + key]},
        {},
    ]
    for way in ways:
        async with websockets.connect(url, **way) as socket:
            if not way:
                await socket.send(json.dumps({"type": "authenticate", "api_key": key}))
            assert check(await socket.recv())["type"] == "authenticated"
            assert check(await socket.recv())["type"] == "subscribed"
            await socket.send('{"type":"ping"}')
            assert check(await socket.recv())["type"] == "pong"
            await (await socket.ping())
            if way.get("subprotocols"):
                assert socket.subprotocol == PROTOCOL


async def test_a_key_that_is_none_or_anothers_is_told_so(world: World) -> None:
    foreign = make_api_key(b"another coordinator!")
    for key, status in (("nonsense", 401), (foreign, 421)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connect(world, headers={"X-Api-Key": key}):
                pass
        assert refused.value.status == status
    for key, code in (("nonsense", Close.UNAUTHENTICATED), (foreign, Close.OTHER_COORDINATOR)):
        async with connect(world, protocols=(PROTOCOL, KEY_PROTOCOL + key)) as client:
            assert await client.read_until_closed() == ([], code)
        async with connect(world) as client:
            await client.say(type="authenticate", api_key=key)
            assert await client.read_until_closed() == ([], code)


async def test_no_key_comes_into_a_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    key = world.people["client"].key
    beside = KEY_PROTOCOL + key
    async with connect(world, protocols=(beside, PROTOCOL)) as client:
        await client.read_greeting()
    for offered in ((beside,), ("other", beside)):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with connect(world, protocols=offered):
                pass
    async with connect(world) as client:
        await client.say(type="authenticate", api_key=[key])
        assert key not in str(await client.read("error"))
    assert key not in caplog.text


async def test_without_a_key_nothing_is_heard_and_the_socket_ends(tmp_path: Path) -> None:
    async with open_world(tmp_path, live=LiveLimits(key_seconds=0.5)) as world:
        async with connect(world) as client:
            world.chain.produce()
            await world.submit(**BODY)
            assert await client.read_until_closed() == ([], Close.UNAUTHENTICATED)
        async with connect(world) as client:
            await client.say(type="subscribe", since=0)
            assert await client.read_until_closed() == ([], Close.UNAUTHENTICATED)


async def test_what_is_no_websocket_is_told_what_to_do(world: World) -> None:
    for method in ("GET", "HEAD"):
        reply = await world.call(method, "/ws", "client")
        assert reply.status == 426
        assert reply.headers["Upgrade"] == "websocket"
    assert (await world.call("POST", "/ws", "client")).status == 405
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connect(world, protocols=(KEY_PROTOCOL + world.people["client"].key,)):
            pass
    assert refused.value.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connect(world, path="/ws?since=later"):
            pass
    assert refused.value.status == 422


async def test_a_job_is_heard_from_queue_to_receipt_by_its_owner_and_no_other(
    world: World,
) -> None:
    async with connect(world, "client") as owner, connect(world, "other") as other:
        name = await world.register()
        async with connect(world, "miner") as miner:
            job = await world.submit(**BODY)
            await finish(world, job["job_id"], name)
            heard = await owner.read_rows(6)
            assert [message["data"].get("phase") for message in heard] == [
                "queued", "claimed", "proving", "settling", "done", None,
            ]  # fmt: skip
            assert {message["data"]["job_id"] for message in heard} == {job["job_id"]}
            assert heard[-2]["data"]["status"] == "completed"
            assert heard[-1]["type"] == "receipt_created"
            seqs = [message["seq"] for message in heard]
            assert seqs == sorted(set(seqs))
            assert "secret prompt" not in json.dumps(heard)
            own = (await miner.read_rows(1))[0]
            assert own["data"] == heard[-1]["data"], "the miner hears of its receipt"
            assert await other.hears_nothing(0.3)


async def test_blocks_are_heard_and_progress_while_it_happens(world: World) -> None:
    name = await world.register()
    job = await world.submit(**BODY)
    async with connect(world, "client") as client:
        world.chain.produce()
        head = world.chain.get_head()
        # The block before may still be on its way.
        blocks = [await client.read("block_created")]
        while blocks[-1]["data"]["height"] < head.height:
            blocks.append(await client.read("block_created"))
        assert blocks[-1]["data"]["height"] == head.height
        await world.claim(job["job_id"])
        for progress in (5, 10, 10, 30):
            body = {"miner_id": name, "progress": progress, "phase": "running"}
            await world.call("POST", f"/v1/jobs/{job['job_id']}/heartbeat", "miner", body)
            await asyncio.sleep(0.1)
        heard = [await client.read("job_update") for _ in range(4)]
        assert [message["data"]["progress"] for message in heard] == [0, 5, 10, 30]
        assert heard[1]["seq"] == heard[2]["seq"] == heard[3]["seq"], "told once, in no log"


async def test_a_filter_names_types_and_jobs_and_takes_the_place_of_the_last_one(
    world: World,
) -> None:
    async with connect(world, "client") as client:
        await client.say(type="subscribe", types=["receipt_created"])
        assert (await client.read("subscribed"))["data"]["types"] == ["receipt_created"]
        first = await world.submit(**BODY)
        world.chain.produce()
        assert await client.hears_nothing(0.2)
        wanted = first["job_id"]
        await client.say(type="subscribe", types=["job_update"], job_ids=[wanted])
        assert (await client.read())["data"] == {"types": ["job_update"], "job_ids": [wanted]}
        second = await world.submit(**BODY)
        await world.call("DELETE", f"/v1/jobs/{second['job_id']}", "client")
        await world.call("DELETE", f"/v1/jobs/{wanted}", "client")
        heard = await client.read_rows(2)
        assert {message["data"]["job_id"] for message in heard} == {wanted}
        await client.say(type="unsubscribe")
        assert (await client.read())["type"] == "unsubscribed"
        await world.submit(**BODY)
        assert await client.hears_nothing(0.2)
        await client.say(type="subscribe")
        await client.read("subscribed")
        await world.submit(**BODY)
        assert (await client.read_rows(1))[0]["data"]["phase"] == "queued"


async def test_what_is_public_is_heard_by_every_account_once(world: World) -> None:
    offer = MarketplaceUpdate(
        offer_id="offer_" + "ab" * 32,
        event="created",
        miner_id="miner_one",
        job_type="llm_inference",
        price="0.001",
        price_base="1000000",
        left=3,
        tx="tx_" + "cd" * 32,
        height=7,
        timestamp="2026-01-01T00:00:00Z",
    )
    kind, now = UpdateType.MARKETPLACE_UPDATE, world.clock.read()
    async with connect(world, "client") as client, connect(world, "miner") as miner:
        await client.say(type="subscribe", types=["marketplace_update"], job_ids=[])
        await client.read("subscribed")
        await world.database.write(lambda c: updates.append(c, kind, updates.PUBLIC, offer, now))
        world.coordinator.signals.announce("updates")
        heard = [await each.read("marketplace_update") for each in (client, miner)]
        assert heard[0] == heard[1]
        assert heard[0]["data"] == msgspec.to_builtins(offer)
        await client.say(type="subscribe", types=["marketplace_update"], since=0)
        assert await client.read("marketplace_update") == heard[0]
        assert await client.hears_nothing(0.2)


async def test_anothers_job_is_never_heard_however_it_is_asked_for(world: World) -> None:
    job = await world.submit(**BODY)
    async with connect(world, "other") as other:
        await other.say(type="subscribe", job_ids=[job["job_id"]], since=0)
        assert (await other.read())["type"] == "subscribed"
        await world.call("DELETE", f"/v1/jobs/{job['job_id']}", "client")
        assert await other.hears_nothing(0.3)
        await other.say(type="subscribe", since=0)
        await other.read("subscribed")
        world.chain.produce()
        await other.read("block_created")
        own = await world.submit("other", **BODY)
        assert (await other.read_rows(1))[0]["data"]["job_id"] == own["job_id"]


async def test_a_client_goes_on_where_it_was_after_a_break_and_after_a_restart(
    world: World,
) -> None:
    async with connect(world, "client") as client:
        first = await world.submit(**BODY)
        (seen,) = await client.read_rows(1)
    await world.call("DELETE", f"/v1/jobs/{first['job_id']}", "client")
    async with connect(world, "client", path=f"/ws?since={seen['seq']}") as client:
        heard = await client.read_rows(2)
        assert [message["data"]["cancel_requested"] for message in heard] == [True, True]
        assert heard[-1]["data"]["status"] == "cancelled"
    second = await world.submit(**BODY)
    await world.restart()
    async with connect(world, "client") as client:
        await client.say(type="subscribe", types=["job_update"], since=heard[-1]["seq"])
        assert (await client.read("subscribed"))["seq"] == heard[-1]["seq"]
        missed = (await client.read_rows(1))[0]["data"]
        assert (missed["job_id"], missed["phase"]) == (second["job_id"], "queued")
        await client.say(type="subscribe", since=0)
        everything = await client.read_rows(4)
        assert [everything[0], *everything[1:3]] == [seen, *heard]


async def test_what_was_lost_is_said(world: World) -> None:
    start = world.clock.read()

    def write(connection: Connection) -> None:
        account = 1
        for number in range(10):
            add_update(connection, account, start + number)
        updates.delete_old(connection, start + 5)

    await world.database.write(write)
    oldest = 1000 * (start + 5)
    async with connect(world, "client", path=f"/ws?since={1000 * start}") as client:
        assert (await client.read())["data"] == {
            "since": 1000 * start,
            "oldest": oldest,
            "reason": "expired",
        }
        assert (await client.read_rows(5))[0]["seq"] == oldest
    newest = 1000 * (start + 9)
    async with connect(world, "client", path=f"/ws?since={newest + 1}") as client:
        gap = await client.read()
        assert (gap["data"]["reason"], gap["seq"]) == ("unknown", newest)
    for known in (0, oldest, newest):
        async with connect(world, "client", path=f"/ws?since={known}") as client:
            await client.say(type="ping")
            assert (await client.read("gap", "pong"))["type"] == "pong"


async def test_nothing_is_lost_or_told_twice_across_many_breaks_in_a_busy_log(
    world: World,
) -> None:
    """Rows come all the time; a client breaks off at any point and goes on from the last seq."""
    total, heard = 2_000, list[int]()
    principal = await world.coordinator.keys.find(world.people["client"].key)
    assert principal is not None
    account = principal.account_id

    async def write_all() -> None:
        for number in range(total):
            owner = (account, account + 1)[number % 2]
            await world.database.write(
                lambda c, owner=owner: add_update(c, owner, world.clock.read())  # type: ignore[misc]
            )
            if number % 7 == 0:
                world.coordinator.signals.announce("updates")
            await asyncio.sleep(0)

    writing = asyncio.create_task(write_all())
    breaks = 0
    while len(heard) < total // 2:
        since = heard[-1] if heard else 0
        async with connect(world, "client", path=f"/ws?since={since}") as client:
            for _ in range(min(5 * (breaks % 5 + 1), total // 2 - len(heard))):
                heard.append((await client.read("job_update"))["seq"])
        breaks += 1
    await writing
    rows = await world.database.read(lambda c: updates.read(c, 0, 2 * total))
    assert heard == [row.seq for row in rows if row.account_id == account]
    assert breaks > 50


class HeldReads:
    """The database; a page of the log that it has read is held back until it is let go."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.has_read = asyncio.Event()
        self.may_go = asyncio.Event()

    async def read(self, work: Callable[[Connection], T]) -> T:
        result = await self._inner.read(work)
        if isinstance(result, tuple) and isinstance(result[0], list):
            self.has_read.set()
            await self.may_go.wait()
        return result

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.write(work)


async def test_what_is_told_while_a_client_reads_the_log_is_not_lost_to_it(world: World) -> None:
    storage = HeldReads(world.database)
    world.coordinator.storage = storage
    async with (
        connect(world, "client") as first,
        connect(world, "client", path="/ws?since=0") as late,
    ):
        async with asyncio.timeout(5):
            await storage.has_read.wait()
        job = await world.submit(**BODY)
        told = (await first.read_rows(1))[0]
        storage.may_go.set()
        assert (await late.read_rows(1))[0] == told
        assert told["data"]["job_id"] == job["job_id"]
        assert await late.hears_nothing(0.2)


async def finish(world: World, job_id: str, name: str) -> None:
    """Take a queued job to its receipt."""
    assert (await world.claim(job_id)).status == 200
    body = {"miner_id": name, "result": {"text": "hello"}, "units": 3}
    reply = await world.call("POST", f"/v1/jobs/{job_id}/complete", "miner", body)
    assert reply.status == 200, reply


def add_update(connection: Connection, account: int, now_ms: int) -> None:
    data = JobUpdate(
        job_id="job_" + "ab" * 32,
        status="running",
        phase="running",
        progress=1,
        miner_id="miner_one",
        cancel_requested=False,
        fault=None,
        reason_code=None,
        timestamp="2026-01-01T00:00:00Z",
    )
    kind = UpdateType.JOB_UPDATE
    updates.append(connection, kind, account, data, now_ms, job=bytes.fromhex("ab" * 32))
