"""Decides who keeps the text endpoint up: a llama.cpp process of ours, or an address of others."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections import deque
from pathlib import Path
from typing import Final

import httpx2

from miner.engines.text import Endpoint, EngineFailedError

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 3.0
MAX_GREETING_BYTES: Final = 65_536
STDERR_LINES: Final = 20
MAX_DESCRIPTION: Final = 200


class LlamaProcess:
    """llama.cpp's server for one model, in a process that is started when first needed.

    `context` in tokens, for each of `slots` jobs at a time.
    """

    def __init__(
        self,
        model: Path,
        name: str,
        *,
        threads: int = 1,
        context: int = 2_048,
        slots: int = 1,
        gpu_layers: int = 0,
    ) -> None:
        self._settings = {
            "model": str(model),
            "alias": name,
            "threads": threads,
            "context": context,
            "slots": slots,
            "gpu_layers": gpu_layers,
        }
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._endpoint: Endpoint | None = None
        self._noise: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._listener: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """Of the running process; it changes with each restart."""
        return self._process.pid if self._process is not None else None

    async def ensure(self) -> Endpoint:
        """Return the endpoint of the running process, starting one where none runs."""
        async with self._turn:
            if self._endpoint is not None and self._process is not None:
                if self._process.returncode is None:
                    return self._endpoint
            await self._stop()
            return await self._start()

    async def on_failure(self) -> None:
        """End the process: its native state is unknown, and a start costs half a second."""
        async with self._turn:
            await self._stop()

    async def close(self) -> None:
        """End the process."""
        await self.on_failure()

    async def _start(self) -> Endpoint:
        key = secrets.token_hex(32)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "miner.engines.text_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_GREETING_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # A Ctrl-C at the terminal is the miner's to answer: it lets running jobs end.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._listener = asyncio.create_task(self._listen(self._process.stderr))
        settings = json.dumps({**self._settings, "key": key, "parent": os.getpid()})
        try:
            self._process.stdin.write(settings.encode() + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(START_SECONDS):
                greeting = json.loads(await self._process.stdout.readline())
        except (OSError, ValueError, TimeoutError):
            await self._stop()
            last = b" / ".join(self._noise).decode(errors="replace")
            raise EngineFailedError(f"the text engine did not start: {last[-300:]}") from None
        self._endpoint = Endpoint(
            url=greeting["url"],
            key=key,
            model=str(self._settings["alias"]),
            description=(
                f"{greeting['build']}; threads {self._settings['threads']}, "
                f"context {self._settings['context']}; {greeting['device']}"
            )[:MAX_DESCRIPTION],
        )
        return self._endpoint

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        """Keep the process's last words, so that a full pipe never blocks it."""
        while chunk := await stream.read(4_096):
            self._noise.extend(line[:300] for line in chunk.splitlines())

    async def _stop(self) -> None:
        process, self._process, self._endpoint = self._process, None, None
        if process is None:
            return
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()  # the request to end
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._listener is not None:
            await self._listener
            self._listener = None


class RemoteEndpoint:
    """An OpenAI-compatible server that somebody else runs, and that holds the model."""

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self._endpoint = Endpoint(
            url=url.rstrip("/").removesuffix("/v1"),
            key=key,
            model=model,
            description=f"openai-compatible endpoint; {model}"[:MAX_DESCRIPTION],
        )
        self._client = httpx2.AsyncClient(timeout=10.0)
        self._is_known_up = False

    async def ensure(self) -> Endpoint:
        """Return the endpoint, after asking it once whether it serves the model."""
        if self._is_known_up:
            return self._endpoint
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        try:
            response = await self._client.get(self._endpoint.url + "/v1/models", headers=headers)
            served = {entry["id"] for entry in response.json()["data"]}
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineFailedError(f"the text endpoint does not answer: {error}") from error
        if self._endpoint.model not in served:
            raise EngineFailedError(f"the text endpoint does not serve {self._endpoint.model!r}")
        self._is_known_up = True
        return self._endpoint

    async def on_failure(self) -> None:
        """Ask again before the next job."""
        self._is_known_up = False

    async def close(self) -> None:
        """Close the connections; the server itself is not ours."""
        await self._client.aclose()
