"""An address that is told of events: a real HTTP server that answers as it is bidden."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

from tests.support.world import World


class Message(NamedTuple):
    """What came, as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """`status` is what it answers, after `delay` seconds."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 200
        self.delay = 0.0
        self.under_way = 0
        self.most_under_way = 0
        self.url = ""
        self._news = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.messages.append(Message(request.headers, body))
        self._news.set()
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.under_way -= 1
        return web.Response(status=self.status)

    def list_types(self) -> list[str]:
        return [message.json["type"] for message in self.messages]

    async def until(self, holds: Callable[[list[Message]], bool], seconds: float = 20) -> None:
        """Return as soon as what came holds."""
        async with asyncio.timeout(seconds):
            while not holds(self.messages):
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def add_webhook(world: World, url: str, *events: str, who: str = "client") -> Any:
    """Return a new webhook as it was shown, with its secret."""
    body = {"url": url, "events": list(events)}
    made = await world.call("POST", "/v1/webhooks", who, body)
    assert made.status == 201, made
    return made.json


@asynccontextmanager
async def ticking(world: World) -> AsyncIterator[None]:
    """Let the world's clock run with the wall's: pauses pass by themselves."""

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.01)
            now = loop.time()
            world.clock.advance(now - last)
            last = now

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
