"""A client of the WebSocket that holds every message against the AsyncAPI document."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jsonschema
from aiohttp import WSMsgType

from coordinator.http.asyncapi import build_document
from coordinator.settings import LiveLimits
from tests.support.world import World

SECONDS = 10.0
DOCUMENT = build_document("0.0.0", LiveLimits())
Message = dict[str, Any]


def make_validator(name: str) -> jsonschema.Draft202012Validator:
    """Return what checks messages of one type; members that no schema names are refused."""
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    schemas = {
        key: {**schema, "additionalProperties": False}
        for key, schema in DOCUMENT["components"]["schemas"].items()
    }
    schema = {**payload, "components": {"schemas": schemas}}
    return jsonschema.Draft202012Validator(schema)


VALIDATORS = {name: make_validator(name) for name in DOCUMENT["components"]["messages"]}


def check(text: str | bytes) -> Message:
    """Return a message whose payload is as the document says."""
    message: Message = json.loads(text)
    VALIDATORS[message["type"]].validate(message)
    return message


class LiveClient:
    """A WebSocket of the `aiohttp` client, read one checked message at a time."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **members: Any) -> None:
        await self.socket.send_str(json.dumps(members))

    async def read(self, *kinds: str) -> Message:
        """Return the next message, or the next of some types; the end is a failure."""
        async with asyncio.timeout(SECONDS):
            while True:
                frame = await self.socket.receive()
                assert frame.type is WSMsgType.TEXT, (frame, self.socket.close_code)
                message = check(frame.data)
                if not kinds or message["type"] in kinds:
                    return message

    async def read_greeting(self) -> Message:
        """Return what a key is answered with, the first subscription's answer read as well."""
        greeting = await self.read()
        assert greeting["type"] == "authenticated", greeting
        answer = await self.read()
        assert answer["type"] == "subscribed", answer
        return greeting

    async def read_rows(self, count: int) -> list[Message]:
        """Return the next messages about jobs and receipts."""
        return [await self.read("job_update", "receipt_created") for _ in range(count)]

    async def read_until_closed(self) -> tuple[list[Message], int | None]:
        """Return what comes before the end, and the code that it ends with."""
        messages = []
        async with asyncio.timeout(SECONDS):
            async for frame in self.socket:
                messages.append(check(frame.data))
        return messages, self.socket.close_code

    async def hears_nothing(self, seconds: float) -> bool:
        """Tell whether nothing but blocks comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    frame = await self.socket.receive()
                    assert frame.type is WSMsgType.TEXT, frame
                    if check(frame.data)["type"] != "block_created":
                        return False
        except TimeoutError:
            return True


@asynccontextmanager
async def open_live(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], **choices: Any
) -> AsyncIterator[LiveClient]:
    """Open a socket with the given headers; nothing of it has been read."""
    async with session.ws_connect(url, headers=headers, **choices) as socket:
        yield LiveClient(socket)


@asynccontextmanager
async def connect(
    world: World,
    who: str | None = None,
    path: str = "/ws",
    headers: Mapping[str, str] | None = None,
    **choices: Any,
) -> AsyncIterator[LiveClient]:
    """Open a socket; `who` gives the key in a header and the greeting has been read."""
    sent = dict(headers or {})
    if who is not None:
        sent["X-Api-Key"] = world.people[who].key
    async with open_live(world.session, world.url + path, sent, **choices) as client:
        if who is not None:
            await client.read_greeting()
        yield client
