"""Live updates at a true node, and what the client makes of a node that stops or refuses."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync import server as sockets

from aitbc import errors
from aitbc.client import AITBCClient, AsyncAITBCClient
from aitbc.market_models import Update
from tests.support.clients import served_node

Talk = Callable[[sockets.ServerConnection, int], None]


async def test_a_job_is_followed_to_its_end_and_again_from_the_log(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        seen: list[Update] = []

        async def follow() -> None:
            async for update in client.live.updates(types=["job_update"]):
                seen.append(update)
                if update.data["status"] == "completed":
                    return

        key = served.keys["client"]
        watch = asyncio.create_task(asyncio.to_thread(_watch_blocks, served.node.url, key))
        task = asyncio.create_task(follow())
        await asyncio.sleep(0.2)
        job = await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        await served.complete(job.job_id)
        await asyncio.wait_for(task, 20)
        assert {update.data["job_id"] for update in seen} == {job.job_id}
        assert [update.seq for update in seen] == sorted({update.seq for update in seen})
        assert "Say hello." not in str(seen)
        again = []
        async with asyncio.timeout(20):
            async for update in client.live.updates(job_ids=[job.job_id], since=0):
                again.append(update)
                if update.type == "receipt_created":
                    break
        assert [each.seq for each in again if each.type == "job_update"] == [
            update.seq for update in seen
        ]
        await watch
        with pytest.raises(errors.BadRequestError):
            await anext(client.live.updates(job_ids=["job_none"]))
        async with AsyncAITBCClient(served.node.url, "aitbc_wrong") as stranger:
            with pytest.raises(errors.AuthenticationError):
                await anext(stranger.live.updates())


def _watch_blocks(url: str, key: str) -> None:
    with AITBCClient(url, key) as client:
        heights = []
        for update in client.live.updates(types=["block_created"]):
            heights.append(update.data["height"])
            if len(heights) == 3:
                break
    assert heights == [heights[0], heights[0] + 1, heights[0] + 2]


@contextmanager
def talking(talk: Talk) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a WebSocket that says what a test wants; yields its address and what it was told."""
    told: list[dict[str, Any]] = []

    def handle(connection: sockets.ServerConnection) -> None:
        connection.send(json.dumps({"type": "authenticated", "seq": 0, "data": {}}))
        connection.send(json.dumps({"type": "subscribed", "seq": 0, "data": {}}))
        told.append(json.loads(connection.recv()))
        connection.send(json.dumps({"type": "job_update", "seq": 1, "data": {"early": True}}))
        connection.send(json.dumps({"type": "subscribed", "seq": 5, "data": {}}))
        talk(connection, len(told))

    with sockets.serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", told
        finally:
            server.shutdown()
            thread.join()


def say(connection: sockets.ServerConnection, seq: int, kind: str = "job_update") -> None:
    connection.send(json.dumps({"type": kind, "seq": seq, "data": {}}))


def test_a_broken_connection_is_taken_up_where_it_was() -> None:
    def talk(connection: sockets.ServerConnection, visit: int) -> None:
        say(connection, 10 * visit)
        connection.close(1001, "the node stops")

    with talking(talk) as (url, told), AITBCClient(url, "aitbc_k") as client:
        updates = client.live.updates(types=["job_update"])
        assert [next(updates).seq for _ in range(3)] == [10, 20, 30]
        updates.close()  # type: ignore[attr-defined]
    assert [each.get("since") for each in told] == [None, 10, 20]
    assert told[0] == {"type": "subscribe", "types": ["job_update"]}


def test_where_nothing_came_it_is_taken_up_from_the_subscription() -> None:
    def talk(connection: sockets.ServerConnection, visit: int) -> None:
        if visit == 2:
            say(connection, 7, "gap")
        connection.close(4413)

    with talking(talk) as (url, told), AITBCClient(url, "aitbc_k") as client:
        assert next(client.live.updates()).type == "gap"
    assert [each.get("since") for each in told] == [None, 5]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (4400, errors.BadRequestError),
        (4401, errors.AuthenticationError),
        (4403, errors.AuthenticationError),
        (4421, errors.MisdirectedError),
    ],
)
def test_a_refusal_is_raised(code: int, kind: type[Exception]) -> None:
    def talk(connection: sockets.ServerConnection, visit: int) -> None:
        connection.close(code, "no")

    with talking(talk) as (url, told), AITBCClient(url, "aitbc_k") as client, pytest.raises(kind):
        next(client.live.updates())
    assert len(told) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"type": 1}', '{"type": "gap", "data": {}}', b"\x00"])
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    def talk(connection: sockets.ServerConnection, visit: int) -> None:
        connection.send(text)
        connection.recv()

    with (
        talking(talk) as (url, _),
        AITBCClient(url, "aitbc_k") as client,
        pytest.raises(errors.InvalidAnswerError),
    ):
        next(client.live.updates())
