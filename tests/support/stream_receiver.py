"""The coordinator's end of a text stream, which loses the connection where a test wants it to."""

import json
from collections import defaultdict
from typing import Any

from aiohttp import web


class StreamReceiver:
    """Keeps each job's text. `breaks`: at which lengths the connection is cut, from the front."""

    def __init__(self) -> None:
        self.texts: defaultdict[str, str] = defaultdict(str)
        self.lines: list[dict[str, Any]] = []
        self.offsets: list[int] = []
        """Of every request, in order."""
        self.breaks: list[int] = []
        self.refusals: list[int] = []
        """Statuses that the next requests are answered with."""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        job_id, offset = request.match_info["id"], int(request.query["offset"])
        self.offsets.append(offset)
        if self.refusals:
            return web.json_response({}, status=self.refusals.pop(0))
        if offset != len(self.texts[job_id]):
            return web.json_response({"length": len(self.texts[job_id])}, status=409)
        while line := await request.content.readline():
            message = json.loads(line)
            self.lines.append(message)
            self.texts[job_id] += message["delta"]
            if self.breaks and len(self.texts[job_id]) >= self.breaks[0]:
                self.breaks.pop(0)
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
        return web.json_response({"length": len(self.texts[job_id])})
