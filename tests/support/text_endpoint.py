"""An OpenAI-compatible text endpoint that writes as slowly as a test wants it to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class TextEndpoint:
    """Writes `word ` once per token, `delay` seconds apart, up to the request's max_tokens."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.asked = 0
        self.fails = 0
        """How many of the next requests break off in the middle."""
        self.running = 0
        self.url = ""

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "served"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        body = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self.running += 1
        try:
            await self._write(request, response, body)
        finally:
            self.running -= 1
        return response

    async def _write(
        self, request: web.Request, response: web.StreamResponse, body: dict[str, Any]
    ) -> None:
        await response.prepare(request)
        for token in range(1, body["max_tokens"] + 1):
            await asyncio.sleep(self.delay)
            finish = "length" if token == body["max_tokens"] else None
            event = {
                "choices": [{"delta": {"content": "word "}, "finish_reason": finish}],
                "usage": {"prompt_tokens": 5, "completion_tokens": token},
            }
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            if self.fails and token == 2:
                self.fails -= 1
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
        await response.write(b"data: [DONE]\n\n")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_post("/v1/chat/completions", self.complete)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
