"""A miner as the API sees one: it polls, claims, streams and completes, and has no model."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.custody import post, until
from tests.support.node import RunningNode

Work = Callable[[dict[str, Any]], tuple[Any, list[str]]]
"""Returns a content's result, and the pieces of text that come before it."""


class PlayedMiner:
    """One custodial miner that does whatever it is given, one job after the other."""

    def __init__(
        self, node: RunningNode, key: dict[str, str], name: str, work: Work, pause: float
    ) -> None:
        self._node = node
        self._key = key
        self._name = name
        self._work = work
        self._pause = pause
        self.cancelled: list[str] = []
        """Jobs whose end was asked for while they were worked on."""
        self.was_told = asyncio.Event()
        """Set with the first of these."""

    async def run(self) -> None:
        path = f"/v1/jobs/available?miner_id={self._name}&wait=30"
        while True:
            job = (await self._node.get(path, headers=self._key)).body
            if job is None:
                continue
            url = f"/v1/jobs/{job['job_id']}"
            leased = await post(self._node, url + "/claim", self._key, {"miner_id": self._name})
            result, pieces = self._work(leased["content"])
            if await self._stream(url, pieces):
                self.cancelled.append(job["job_id"])
                self.was_told.set()
                failed = {"miner_id": self._name, "reason_code": 20002}
                await self._node.session.post(
                    self._node.url + url + "/fail", json=failed, headers=self._key
                )
                continue
            done = {"miner_id": self._name, "result": result, "units": 1}
            await post(self._node, url + "/complete", self._key, done)

    async def _stream(self, url: str, pieces: list[str]) -> bool:
        """Send the pieces; tell whether the client asked for the job's end meanwhile."""
        is_cancelled = False

        async def lines() -> AsyncIterator[bytes]:
            nonlocal is_cancelled
            for number, piece in enumerate(pieces):
                yield json.dumps({"delta": piece, "progress": min(99, number)}).encode() + b"\n"
                await asyncio.sleep(self._pause)
                beat = {"miner_id": self._name, "progress": min(99, number)}
                noted = await post(self._node, url + "/heartbeat", self._key, beat)
                if noted["cancel_requested"]:
                    is_cancelled = True
                    return

        if pieces:
            path = f"{self._node.url}{url}/stream?miner_id={self._name}"
            async with self._node.session.post(path, data=lines(), headers=self._key) as reply:
                assert reply.status == 200, await reply.text()
        return is_cancelled


@asynccontextmanager
async def playing(
    node: RunningNode,
    key: dict[str, str],
    capabilities: list[str],
    models: list[str],
    work: Work,
    pause: float = 0.01,
) -> AsyncIterator[PlayedMiner]:
    """Register a miner and have it work until the block ends."""
    registration = {"miner_id": "played", "capabilities": capabilities, "models": models}
    await post(node, "/v1/miners/register", key, registration)
    await until(node, "/v1/miners/played", key, lambda m: m["status"] == "active")
    miner = PlayedMiner(node, key, "played", work, pause)
    task = asyncio.create_task(miner.run())
    try:
        yield miner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
