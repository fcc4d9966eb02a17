"""Decides how an engine's own process begins and ends: settings in, a greeting out, no orphans.

A process of its own, so that a crash of native code costs one job and not the miner. Its settings
come by standard input, since arguments are visible to every user of the machine; it ends when that
does, or when the miner is gone.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from miner.engines.interface import EngineFailedError

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 3.0
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
STDERR_LINES: Final = 20
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChildProcess:
    """One process that runs a module of ours. It is not restarted by itself."""

    def __init__(
        self, name: str, module: str, threads: int, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        self._module = module
        self._variables = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._noise: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._listener: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """Of the running process; it changes with each start."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the greeting of a new process. Raises `EngineFailedError`."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            env={
                **os.environ,
                **self._variables,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            # A Ctrl-C at the terminal is the miner's to answer: it lets running jobs end.
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._listener = asyncio.create_task(self._listen(self._process.stderr))
        try:
            await self.write({**settings, "parent": os.getpid()})
            async with asyncio.timeout(START_SECONDS):
                return await self.read()
        except (OSError, ValueError, TimeoutError):
            last = await self.stop()
            raise EngineFailedError(f"the {self._name} engine did not start: {last}") from None

    async def write(self, message: dict[str, Any]) -> None:
        """Send one message. Raises `OSError` where the process is gone."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        """Return its next message. Raises `ValueError` for anything else, the end among it."""
        assert self._process is not None and self._process.stdout is not None
        message = json.loads(await self._process.stdout.readline())
        if not isinstance(message, dict):
            raise ValueError("not a message")
        return message

    async def stop(self) -> str:
        """End the process, if there is one, and return its last words."""
        process, self._process = self._process, None
        if process is None:
            return ""
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()  # the request to end
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                self._kill(process)
                await process.wait()
        if self._listener is not None:
            await self._listener
            self._listener = None
        return b" / ".join(self._noise).decode(errors="replace")[-300:]

    async def kill(self) -> None:
        """End the process at once, in the middle of whatever it does."""
        if self._process is not None:
            self._kill(self._process)
        await self.stop()

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        """Keep the process's last words, so that a full pipe never blocks it."""
        while chunk := await stream.read(4_096):
            self._noise.extend(line[:300] for line in chunk.splitlines())
