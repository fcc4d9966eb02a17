"""Watches one run: hands its lines on, counts what it writes, and kills it at its bounds."""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from typing import Final

from miner.sandbox.bounds import Bounds
from miner.sandbox.interface import (
    MAX_LINE_BYTES,
    MAX_LINES,
    MAX_OUTPUT_BYTES,
    Ending,
    Limits,
    OnLine,
)

LOOK_SECONDS: Final = 0.1
HOUR_SECONDS: Final = 3_600
LAST_WORDS_BYTES: Final = 2_048
CHUNK: Final = 64 * 1024


class Supervision:
    """One run from its start to its end."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        bounds: Bounds,
        limits: Limits,
        on_line: OnLine,
        stop: asyncio.Event,
    ) -> None:
        self._process = process
        self._bounds = bounds
        self._limits = limits
        self._on_line = on_line
        self._stop = stop
        self._limit: str | None = None
        self._is_stopped = False
        self._begun = time.monotonic()
        self._written = 0
        self._lines = 0
        self._words: deque[int] = deque(maxlen=LAST_WORDS_BYTES)

    async def see_through(self, stdin: bytes) -> Ending:
        """Return how the run ended; whatever happens here, it has."""
        process = self._process
        self._bounds.watch(process.pid)
        assert process.stdin is not None and process.stdout is not None
        assert process.stderr is not None
        tasks = [
            asyncio.create_task(self._feed(process.stdin, stdin)),
            asyncio.create_task(self._read_lines(process.stdout)),
            asyncio.create_task(self._read_words(process.stderr)),
            asyncio.create_task(self._watch()),
        ]
        try:
            await process.wait()
            # What it wrote last is read; its pipes end with its last process.
            await asyncio.wait(tasks[1:3], timeout=LOOK_SECONDS * 10)
        finally:
            self._kill()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await process.wait()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._build_ending()

    def _build_ending(self) -> Ending:
        code = self._process.returncode
        assert code is not None
        code = 128 - code if code < 0 else code
        limit = self._limit
        if limit is None and not self._is_stopped:
            if self._bounds.is_memory_short():
                limit = "memory"
            elif code == 128 + signal.SIGXCPU:
                limit = "cpu time"
            elif code == 128 + signal.SIGXFSZ:
                limit = "disk"
        return Ending(
            exit_code=code,
            limit=limit,
            is_stopped=self._is_stopped,
            last_words=bytes(self._words).decode(errors="replace").strip(),
            cpu_seconds=self._bounds.read_cpu_seconds(),
            peak_bytes=self._bounds.read_peak_bytes(),
            bounds=self._bounds.name,
        )

    async def _feed(self, pipe: asyncio.StreamWriter, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            pipe.write(data)
            await pipe.drain()
            pipe.close()

    async def _read_lines(self, pipe: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await pipe.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if self._is_too_much(len(chunk), len(lines)):
                continue
            for line in lines:
                self._on_line(line[:MAX_LINE_BYTES].decode(errors="replace"))
            rest = rest[:MAX_LINE_BYTES]
        if rest:
            self._on_line(rest.decode(errors="replace"))

    async def _read_words(self, pipe: asyncio.StreamReader) -> None:
        while chunk := await pipe.read(CHUNK):
            self._is_too_much(len(chunk))
            self._words.extend(chunk[-LAST_WORDS_BYTES:])

    def _is_too_much(self, size: int, lines: int = 0) -> bool:
        """Count what was written, and end the run where that is more than its time allows."""
        self._written += size
        self._lines += lines
        hours = 1 + int((time.monotonic() - self._begun) / HOUR_SECONDS)
        if self._written <= hours * MAX_OUTPUT_BYTES and self._lines <= hours * MAX_LINES:
            return False
        self._end("output")
        return True

    async def _watch(self) -> None:
        """Kill the run at its end, and when it is told to stop."""
        end = self._begun + self._limits.wall_seconds
        while True:
            if self._stop.is_set():
                self._is_stopped = True
                self._kill()
                return
            if time.monotonic() >= end:
                self._end("wall time")
            elif self._bounds.read_cpu_seconds() > self._limits.cpu_seconds:
                self._end("cpu time")
            elif self._bounds.is_memory_short():
                self._end("memory")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_SECONDS)

    def _end(self, limit: str) -> None:
        if self._limit is None:
            self._limit = limit
        self._kill()

    def _kill(self) -> None:
        """End bubblewrap; its first process inside, and with it all others, ends with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
