"""Decides how a text that grows reaches the coordinator ahead of the result.

Each piece goes out at once, in one long request; what comes while a write is on its way goes with
the next. After a lost connection the coordinator says how much it has, and the rest follows. The
result holds the whole text in any case, so a stream that cannot be sent costs the job nothing.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx2
import structlog

from miner.wire import PASSING_STATUSES, Wire

LINE_CHARACTERS: Final = 8_000
"""Of a piece: at most 6 bytes each as JSON, so that a line stays below 64 KiB."""
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0
FINISH_SECONDS: Final = 2.0
"""How long the end of a job waits for its stream."""
MAX_ANSWER_BYTES: Final = 65_536

log = structlog.get_logger(__name__)


class _NotStreamedError(Exception):
    """The coordinator does not take the text, now or at all."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TextStream:
    """One job's text on its way. Nothing is sent before there is a first piece."""

    def __init__(self, wire: Wire, job_id: str, query: Mapping[str, str | None]) -> None:
        self._wire = wire
        self._job_id = job_id
        self._query = query
        self._text = ""
        self._progress = 0
        self._is_finished = False
        self._changed = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    def add(self, progress: int, piece: str) -> None:
        """Take the next piece of the text."""
        self._progress = progress
        if not piece:
            return
        self._text += piece
        self._changed.set()
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def finish(self) -> None:
        """Send what is left, for a short while, and end the stream."""
        self._is_finished = True
        self._changed.set()
        if self._sending is None:
            return
        await asyncio.wait({self._sending}, timeout=FINISH_SECONDS)
        self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending

    async def _send(self) -> None:
        offset, pause = 0, FIRST_PAUSE
        while True:
            try:
                # An answer is read only when the body is sent, so a refusal is asked for first.
                offset = await self._exchange(offset, b"")
                await self._wait_until_longer(offset)
                pause = FIRST_PAUSE
                if not self._is_whole(offset):
                    offset = await self._exchange(offset, self._iterate_lines(offset))
                if self._is_whole(offset):
                    return
            except httpx2.HTTPError as error:
                log.info("text stream lost", job=self._job_id, error=type(error).__name__)
            except _NotStreamedError as error:
                log.warning("text not streamed", job=self._job_id, status=error.status)
                if error.status not in PASSING_STATUSES:
                    return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _is_whole(self, length: int) -> bool:
        return self._is_finished and length >= len(self._text)

    async def _exchange(self, offset: int, content: bytes | AsyncIterator[bytes]) -> int:
        """Return how much the coordinator has. Raises `HTTPError` and `_NotStreamedError`."""
        async with self._wire.request(
            "POST",
            f"/v1/jobs/{self._job_id}/stream",
            {**self._query, "offset": offset},
            content=content,
            headers={"Content-Type": "application/x-ndjson"},
        ) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break
        try:
            length = json.loads(body)["length"]
        except (ValueError, LookupError, TypeError, RecursionError):
            length = None
        if response.status_code in (200, 409) and type(length) is int and length >= 0:
            return length
        raise _NotStreamedError(response.status_code)

    async def _iterate_lines(self, offset: int) -> AsyncIterator[bytes]:
        """Yield what comes as lines until the text is whole."""
        while True:
            self._changed.clear()
            while offset < len(self._text):
                piece = self._text[offset : offset + LINE_CHARACTERS]
                offset += len(piece)
                line = json.dumps({"delta": piece, "progress": self._progress}, ensure_ascii=False)
                yield line.encode() + b"\n"
            if self._is_finished:
                return
            await self._changed.wait()

    async def _wait_until_longer(self, length: int) -> None:
        """Wait for what the coordinator lacks; it may have the text of an attempt before this."""
        while len(self._text) < length and not self._is_finished:
            self._changed.clear()
            await self._changed.wait()
