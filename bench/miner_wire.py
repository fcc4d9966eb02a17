"""What stands beside a miner in its benchmark: on its way to the node, and in front of its engine.

The clock of everything is this process's: a request is seen when it has come whole, an answer when
it has been sent.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

FIRST_TOKEN_SECONDS = 0.5
"""What the paced engine takes to its first token: by then its reader has come."""
TOKEN_SECONDS = 0.02
TOKENS = 6
HOP_BY_HOP = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class Witness:
    """Passes a miner's requests on to a node, and notes when a lease was told and work came in."""

    def __init__(self, node: str, session: aiohttp.ClientSession) -> None:
        self._node = node
        self._session = session
        self.leased: dict[str, float] = {}
        self.handed_in: dict[str, float] = {}

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Handle any request."""
        body = await request.read()
        parts = request.path.split("/")
        if parts[-1] == "complete":
            self.handed_in.setdefault(parts[-2], time.perf_counter())
        headers = {
            name: text for name, text in request.headers.items() if name.lower() not in HOP_BY_HOP
        }
        url = self._node + request.path_qs
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers
            ) as answer:
                response = web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.content_type
                )
        except aiohttp.ClientError:  # one of both has gone: the benchmark is over
            return web.Response(status=502)
        await response.prepare(request)
        await response.write_eof()
        if parts[-1] == "claim" and response.status == 200:
            self.leased[parts[-2]] = time.perf_counter()
        return response


class PacedEngine:
    """An OpenAI-compatible engine that notes when it has its first token."""

    def __init__(self) -> None:
        self.first: list[float] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Stream some tokens."""
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(FIRST_TOKEN_SECONDS)
        self.first.append(time.perf_counter())
        for token in range(1, TOKENS + 1):
            finish = "length" if token == TOKENS else None
            event = {
                "choices": [{"delta": {"content": "word "}, "finish_reason": finish}],
                "usage": {"prompt_tokens": 1, "completion_tokens": token},
            }
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(TOKEN_SECONDS)
        await response.write(b"data: [DONE]\n\n")
        return response


class Gate:
    """In front of a real text engine: lets so many requests through together, and counts."""

    def __init__(self, engine: str, key: str, session: aiohttp.ClientSession, width: int) -> None:
        self._url = f"{engine}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session = session
        self._width = width
        self._is_open = asyncio.Event()
        self.bodies: list[bytes] = []
        self.tokens = 0
        self.opened = self.ended = 0.0

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Pass one request and its stream on, once all are here."""
        body = await request.read()
        self.bodies.append(body)
        if len(self.bodies) == self._width:
            self.opened = time.perf_counter()
            self._is_open.set()
        await self._is_open.wait()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        headers = {**self._headers, "Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                self.tokens += chunk.count(b'"delta"')
                await response.write(chunk)
        self.ended = max(self.ended, time.perf_counter())
        return response

    @property
    def throughput(self) -> float:
        """Tokens a second, all requests together."""
        return self.tokens / (self.ended - self.opened)


async def list_models(_request: web.Request) -> web.Response:
    """Name the one model, as engines do."""
    return web.json_response({"data": [{"id": "served"}]})


@asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[str]:
    """Serve on loopback; yield the URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
