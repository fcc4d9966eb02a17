import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from sqlalchemy import Connection

from coordinator import updates
from coordinator.http.live import (
    MAX_MALFORMED,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGES,
    build_route,
)
from coordinator.http.live_hub import LiveHub
from coordinator.http.live_messages import Close
from coordinator.http.live_socket import END_SECONDS
from coordinator.http.pipeline import answer_errors, build_handler
from coordinator.http.rate_limits import RateLimiter
from coordinator.settings import LiveLimits, RateLimits
from coordinator.update_data import JobUpdate
from coordinator.updates import PUBLIC, UpdateType
from tests.support.live import connect, open_live
from tests.support.world import World, open_world

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
"""The head of a request, but for its key and the empty line."""
ROW_BYTES = 300


def make_data(number: int) -> JobUpdate:
    return JobUpdate(
        job_id=f"job_{number:064x}",
        status="running",
        phase="running",
        progress=1,
        miner_id="miner_one",
        cancel_requested=False,
        fault=None,
        reason_code=None,
        timestamp="2026-01-01T00:00:00Z",
    )


async def tell(world: World, first: int, count: int, account: int = PUBLIC) -> None:
    """Write rows for everybody, as the code writes them, and wake the readers."""
    now = world.clock.read()

    def write(connection: Connection) -> None:
        for number in range(first, first + count):
            kind = UpdateType.JOB_UPDATE
            updates.append(connection, kind, account, make_data(number), now)

    await world.database.write(write)
    world.coordinator.signals.announce("updates")


@asynccontextmanager
async def connect_raw(
    world: World, who: str = "client", target: str = "/ws"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a socket by hand: it answers nothing by itself."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    head = UPGRADE.replace("/ws", target, 1) + f"X-Api-Key: {world.people[who].key}\r\n\r\n"
    writer.write(head.encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    data = b""
    try:
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                data += piece
    except ConnectionError:
        pass
    return data


def read_close_code(data: bytes) -> int:
    """Return the code of the last frame of a server, which must be a close frame."""
    position, first = 0, 0
    payload = b""
    while position < len(data):
        first, length = data[position], data[position + 1]
        position += 2
        if length == 126:
            length = int.from_bytes(data[position : position + 2])
            position += 2
        payload = data[position : position + length]
        position += length
    assert first == 0x80 | WSMsgType.CLOSE, f"ends with {first:#x}"
    return int.from_bytes(payload[:2])


async def test_who_reads_nothing_is_cut_and_the_others_hear_everything(tmp_path: Path) -> None:
    limits = LiveLimits(queued_bytes=16_384, catch_up_seconds=1)
    async with (
        open_world(tmp_path, live=limits) as world,
        connect(world, "other") as other,
        connect_raw(world) as (reader, _),
        connect_raw(world, target="/ws?since=0") as (behind, _),
    ):
        total = 8_000
        await tell(world, 0, total)
        for number in range(total):
            heard = await other.read("job_update")
            assert heard["data"]["job_id"] == f"job_{number:064x}"
        await asyncio.sleep(limits.catch_up_seconds + 2 * END_SECONDS)
        for each in (reader, behind):
            # What the system's buffers on both sides took, and nothing more.
            assert len(await read_to_the_end(each)) < total * ROW_BYTES // 4


async def test_who_begins_to_read_in_time_learns_why_it_was_cut(tmp_path: Path) -> None:
    limits = LiveLimits(queued_bytes=16_384, catch_up_seconds=1)
    async with open_world(tmp_path, live=limits) as world, connect_raw(world) as (reader, _):
        await tell(world, 0, 8_000)
        await asyncio.sleep(limits.catch_up_seconds + END_SECONDS / 2)
        assert read_close_code(await read_to_the_end(reader)) == Close.SLOW_READER


async def test_who_reads_slowly_hears_everything_in_order(tmp_path: Path) -> None:
    limits = LiveLimits(queued_bytes=4_096, catch_up_seconds=1)
    async with open_world(tmp_path, live=limits) as world, connect(world, "client") as client:
        total = 6_000
        await tell(world, 0, total // 2)
        for number in range(total):
            heard = await client.read("job_update")
            assert heard["data"]["job_id"] == f"job_{number:064x}"
            if number % 500 == 0:
                await asyncio.sleep(0.3)
            if number == total // 4:
                await tell(world, total // 2, total // 2)


async def test_a_revoked_key_is_cut_within_five_seconds(world: World) -> None:
    body = {"role": "client"}
    made = (await world.call("POST", "/v1/api-keys", "operator", body)).json
    headers = {"X-Api-Key": made["key"]}
    async with connect(world, headers=headers) as client, connect(world, "client") as other:
        await client.read("subscribed")
        path = f"/v1/api-keys/{made['key_id']}"
        assert (await world.call("DELETE", path, "operator")).status == 204
        async with asyncio.timeout(5):
            _, code = await client.read_until_closed()
        assert code == Close.KEY_REVOKED
        await other.say(type="ping")
        await other.read("pong")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connect(world, headers=headers):
            pass
    assert refused.value.status == 401


async def test_when_the_node_stops_every_socket_is_told(world: World) -> None:
    async with connect(world, "client") as first, connect(world) as unknown:
        ends = asyncio.gather(first.read_until_closed(), unknown.read_until_closed())
        await world.stop()
        assert [code for _, code in await ends] == [Close.GOING_AWAY, Close.GOING_AWAY]
    await world.start()


async def test_what_cannot_be_read_is_named_and_repeated_it_ends_the_socket(world: World) -> None:
    garbage = [
        "nonsense",
        "[]",
        '{"type":"shout"}',
        '{"type":"subscribe","types":["job_updates"]}',
        '{"type":"subscribe","job_ids":["job_1"]}',
        '{"type":"subscribe","since":-1}',
        '{"type":"authenticate"}',
        "[" * 5_000,
        json.dumps({"type": "subscribe", "job_ids": ["job_" + "a" * 64] * 101}),
    ]
    for text in garbage:
        async with connect(world, "client") as client:
            await client.socket.send_str(text)
            error = await client.read("error")
            assert error["data"]["code"] == "MALFORMED_MESSAGE"
            assert error["data"]["detail"]
            await client.say(type="ping")
            await client.read("pong")
    async with connect(world, "client") as client:
        for _ in range(MAX_MALFORMED + 1):
            await client.socket.send_bytes(b"\0\1\2")
        messages, code = await client.read_until_closed()
        errors = [message for message in messages if message["type"] == "error"]
        assert (len(errors), code) == (MAX_MALFORMED + 1, Close.MALFORMED)


async def test_a_message_that_is_too_long_ends_the_socket(world: World) -> None:
    async with connect(world, "client") as client:
        await client.socket.send_str("x" * (MAX_MESSAGE_BYTES + 1))
        assert (await client.read_until_closed())[1] == 1009
    async with connect_raw(world) as (reader, writer):
        # A frame that announces 2^62 bytes.
        writer.write(bytes([0x81, 0xFF]) + (2**62).to_bytes(8) + b"mask")
        assert read_close_code(await read_to_the_end(reader)) == 1009


async def test_frames_of_no_protocol_end_the_socket(world: World) -> None:
    for frame in (b"\xf1\x80mask", b"\x83\x80mask", b"\x81\x82mask\x92\x9e"):
        async with connect_raw(world) as (reader, writer):
            writer.write(frame)
            assert read_close_code(await read_to_the_end(reader)) in (1002, 1007)


async def test_a_flood_ends_the_socket(world: World) -> None:
    for kind in ("text", "ping"):
        async with connect(world, "client") as client:
            for _ in range(MAX_MESSAGES + 1):
                if kind == "text":
                    await client.say(type="ping")
                else:
                    await client.socket.ping()
            _, code = await client.read_until_closed()
            assert code == Close.TOO_FAST


async def test_a_peer_that_answers_no_heartbeat_is_cut_and_one_that_does_stays(
    tmp_path: Path,
) -> None:
    limits = LiveLimits(ping_seconds=0.5, silent_seconds=2.5)
    async with (
        open_world(tmp_path, live=limits) as world,
        connect(world, "client") as client,
        connect_raw(world) as (reader, _),
    ):
        listening = asyncio.create_task(client.read_until_closed())
        assert read_close_code(await read_to_the_end(reader)) == Close.SILENT
        await asyncio.sleep(1)
        assert not listening.done(), "its library answers pings"
        listening.cancel()


async def test_a_key_and_the_keyless_have_so_many_sockets(tmp_path: Path) -> None:
    limits = LiveLimits(sockets_per_key=2, unknown_sockets=3)
    async with open_world(tmp_path, live=limits) as world:
        key = world.people["client"].key
        async with connect(world, "client"), connect(world, "client"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with connect(world, "client"):
                    pass
            assert refused.value.status == 429
            async with connect(world) as client:
                await client.say(type="authenticate", api_key=key)
                assert (await client.read_until_closed())[1] == Close.TOO_MANY
            async with connect(world, "other"):
                pass
        async with connect(world), connect(world), connect(world):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with connect(world):
                    pass
            assert refused.value.status == 429
            async with connect(world, "client"):
                pass
        async with connect(world, "client"), connect(world, "client"):
            pass


async def test_sockets_leave_nothing_behind(world: World) -> None:
    await asyncio.sleep(0.1)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        async with connect(world, "client") as client:
            await client.say(type="ping")
            await client.read("pong")
        async with connect_raw(world) as (_, writer):
            writer.transport.abort()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - tasks tell nobody
            await asyncio.sleep(0.05)


async def test_sockets_without_a_key_are_counted_against_their_address(world: World) -> None:
    # The world's own chain is a DEV one, on which public requests have no bound.
    limiter = RateLimiter(RateLimits(public_per_minute=5), is_public_bounded=True)
    hub = LiveHub(world.coordinator)
    app = web.Application(middlewares=[answer_errors])
    app.cleanup_ctx.append(hub.run)
    app.on_shutdown.append(hub.close)
    route = build_route(hub, limiter)
    app.router.add_get("/ws", build_handler(route, world.coordinator, limiter))
    async with TestServer(app) as server:
        url = str(server.make_url("/ws"))
        for _ in range(5):
            async with open_live(world.session, url, {}):
                pass
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with open_live(world.session, url, {}):
                pass
        assert refused.value.status == 429
        key = {"X-Api-Key": world.people["client"].key}
        async with open_live(world.session, url, key) as client:
            await client.read_greeting()
