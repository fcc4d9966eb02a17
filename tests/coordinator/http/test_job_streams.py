"""A text on its way: from the leaseholder's long request to a reader's server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from coordinator.http.miner_streams import LINES_AT_ONCE
from tests.support.world import Reply, World

Events = list[tuple[str, Any]]


def write_line(delta: str, progress: int = 1) -> bytes:
    return json.dumps({"delta": delta, "progress": progress}).encode() + b"\n"


async def begin(world: World) -> str:
    await world.register()
    job = await world.submit()
    assert (await world.claim(job["job_id"])).status == 200
    return f"/v1/jobs/{job['job_id']}"


async def send(world: World, path: str, *deltas: str, offset: int = 0, who: str = "miner") -> Reply:
    async def lines() -> AsyncIterator[bytes]:
        for number, delta in enumerate(deltas):
            yield write_line(delta, number)
            await asyncio.sleep(0)

    url = f"{path}/stream?miner_id=miner_{who}&offset={offset}"
    return await world.call("POST", url, who, data=lines())


async def complete(world: World, path: str, text: str) -> None:
    body = {"miner_id": "miner_miner", "result": {"text": text}, "units": 3}
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200


async def read_events(world: World, path: str, last: str | None = None) -> Events:
    """Return every event up to the end of the stream."""
    headers = {"X-Api-Key": world.people["client"].key}
    if last is not None:
        headers["Last-Event-ID"] = last
    events: Events = []
    async with world.session.get(world.url + path + "/stream", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        text = (await response.read()).decode()
    for block in text.split("\n\n"):
        members = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if members:
            events.append((members["event"], json.loads(members["data"])))
    return events


def join(events: Events) -> str:
    text = ""
    for name, data in events:
        text = "" if name == "reset" else text + (data["delta"] if name == "delta" else "")
    return text


async def test_a_reader_sees_the_text_grow_and_the_job_end(world: World) -> None:
    path = await begin(world)
    reading = asyncio.create_task(read_events(world, path))
    sent = await send(world, path, "Red", ", ", "blue")
    assert (sent.status, sent.json["length"]) == (200, 9)
    again = await send(world, path, " and", offset=5)
    assert (again.status, again.json["length"]) == (409, 9)
    assert (await send(world, path, " and green", offset=9)).json["length"] == 19
    await complete(world, path, "Red, blue and green.")
    events = await asyncio.wait_for(reading, 20)
    assert join(events) == "Red, blue and green."
    assert events[0][0] == "status"
    name, data = events[-1]
    assert (name, data["status"]) == ("done", "completed")
    assert len([each for each in events if each[0] == "delta"]) >= 2


async def test_a_reader_goes_on_where_it_was_also_after_the_end(world: World) -> None:
    path = await begin(world)
    await send(world, path, "one two")
    await complete(world, path, "one two three")
    await world.until(path, "client", lambda job: job["status"] == "completed")
    assert join(await read_events(world, path)) == "one two three"
    assert join(await read_events(world, path, "8")) == "three"
    assert join(await read_events(world, path, "13")) == ""


async def test_a_result_that_differs_begins_anew(world: World) -> None:
    path = await begin(world)
    reading = asyncio.create_task(read_events(world, path))
    await send(world, path, "wrong words")
    await asyncio.sleep(0.1)
    await complete(world, path, "right")
    events = await asyncio.wait_for(reading, 20)
    assert ("reset", {}) in events
    assert join(events) == "right"


async def test_only_the_leaseholder_writes_and_only_the_owner_reads(world: World) -> None:
    path = await begin(world)
    await world.register("rival")
    assert (await send(world, path, "x", who="rival")).status == 409
    assert (await world.call("GET", path + "/stream", "other")).status == 404
    assert (await world.call("GET", path + "/stream", "miner")).status == 403
    assert (await world.call("GET", path + "/stream")).status == 401


async def test_a_key_that_is_revoked_hears_no_more(world: World) -> None:
    path = await begin(world)
    await send(world, path, "Hello")
    headers = {"X-Api-Key": world.people["client"].key}
    keys = (await world.call("GET", "/v1/api-keys", "operator")).json["keys"]
    (key_id,) = (key["key_id"] for key in keys if key["label"] == "client")
    async with world.session.get(world.url + path + "/stream", headers=headers) as response:
        first = await response.content.readuntil(b'{"delta": "Hello"}\n\n')
        assert b"event: delta" in first
        revoked = await world.call("DELETE", f"/v1/api-keys/{key_id}", "operator")
        assert revoked.status == 204
        await send(world, path, "secret", offset=5)
        assert await response.content.read() == b""


async def test_a_flood_of_short_lines_lets_others_have_their_turn(world: World) -> None:
    path = await begin(world)
    job_id = bytes.fromhex(path.removeprefix("/v1/jobs/job_"))
    count, length, longest = 20 * LINES_AT_ONCE, 0, 0

    async def send_all() -> Reply:
        data = write_line("a") * count
        return await world.call("POST", f"{path}/stream?miner_id=miner_miner", "miner", data=data)

    sending = asyncio.create_task(send_all())
    while not sending.done():
        text = world.coordinator.streams.get(job_id)
        before, length = length, 0 if text is None else len(text.text)
        longest = max(longest, length - before)
        await asyncio.sleep(0)
    assert sending.result().json == {"length": count}
    assert 0 < longest <= 2 * LINES_AT_ONCE


async def test_lines_that_are_none_are_refused(world: World) -> None:
    path = await begin(world)
    url = f"{path}/stream?miner_id=miner_miner&offset=0"
    for body, status in (
        (b"{", 400), (b"[]\n", 400), (b'{"delta":1}\n', 400), (b'{"progress":1}\n', 400),
        (b'{"delta":"a","progress":101}\n', 400), (b'{"delta":"\\ud800"}\n', 400),
        (b"x" * 70_000, 413), (b'{"delta":"' + b"x" * 70_000 + b'"}\n', 413),
    ):  # fmt: skip
        reply = await world.call("POST", url, "miner", data=body)
        assert reply.status == status, (body[:30], reply)
    gap = await world.call("POST", url.replace("=0", "=5"), "miner", data=b"")
    assert (gap.status, gap.json["length"]) == (409, 0)
