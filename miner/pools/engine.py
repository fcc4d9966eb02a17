"""Decides how a job runs in a pool: read here, run there, and again where an engine is lost.

A run is tried on at most `MAX_TRIES` engines; a failure that the engine itself reports is not tried
again, as it is not on the miner's own machine. The receipt names the engine and the device that
made the answer.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from miner.engines.interface import (
    OUTPUT,
    Description,
    Engine,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    Task,
)
from miner.pools.growing import GrowingText
from miner.pools.members import SILENCE_SECONDS, Host, HostLostError, Members
from miner.pools.messages import MessageError, Report, decode
from miner.pools.transfer import fetch_results, send_sources

MAX_TRIES: Final = 3
STOP_SECONDS: Final = 3.0
"""How long a run may go on once it is told to stop; then its process is killed."""

log = structlog.get_logger(__name__)


class PooledTask:
    """One job's content, read here, to be run on whichever engine has a free place."""

    def __init__(self, members: Members, content: Mapping[str, Any], task: Task) -> None:
        self._members = members
        self._content = json.dumps(dict(content)).encode()
        self.sources: Mapping[str, str] = task.sources

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the result; when `stop` is set before its end, what there is by then.

        Raises `InputInvalidError` and `EngineFailedError`.
        """
        text = GrowingText(on_progress)
        reason = ""
        for _ in range(MAX_TRIES):
            async with self._members.lend(stop) as member:
                if member is None:
                    break
                text.begin_again()
                run = _RemoteRun(member.host, text)
                try:
                    return await run.run(self._content, files, stop)
                except (HostLostError, MessageError) as error:
                    reason = str(error)
                    self._members.retire(member, reason)
            if stop.is_set():
                break
            log.warning("a job moves to another engine", reason=reason)
        else:
            raise EngineFailedError(f"{MAX_TRIES} nodes were lost with the job; the last: {reason}")
        return EngineResult({}, 0, "", is_cut=True)


class PooledEngine:
    """All engines of one kind, as one. `reader` is the same engine here, which never runs."""

    def __init__(self, members: Members, reader: Engine) -> None:
        self._members = members
        self._reader = reader
        self.service = reader.service
        self.model = reader.model
        self._description: Description | None = None

    def read(self, content: Mapping[str, Any]) -> PooledTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        return PooledTask(self._members, content, self._reader.read(content))

    async def prepare(self) -> Description:
        """Return what an engine that is up says of itself, or the last one that was."""
        for greeting in self._members.greetings:
            self._description = greeting.description
        if self._description is None:
            raise EngineFailedError("no engine of the pool is up")
        return self._description

    async def close(self) -> None:
        """End every engine."""
        await self._members.close()
        await self._reader.close()


class _RemoteRun:
    """One try of one job on one engine."""

    def __init__(self, host: Host, text: GrowingText) -> None:
        self._host = host
        self._text = text
        self._id = secrets.token_hex(16)
        self._length = 0

    async def run(
        self, content: bytes, files: Mapping[str, Path], stop: asyncio.Event
    ) -> EngineResult:
        is_forgotten = False
        try:
            await send_sources(self._host, self._id, files)
            report = await self._wait(content, stop)
            result = report.result
            has_files = result is not None and bool(result.files)
            # A stop may arrive when the run is over, and would leave an empty one there.
            is_forgotten = not has_files and not stop.is_set()
            if result is not None and result.files:
                output = files[OUTPUT]
                result = await fetch_results(self._host, self._id, result, output, stop)
        finally:
            if not is_forgotten:
                with contextlib.suppress(HostLostError):
                    await self._call("end", self._id)
        if report.is_invalid:
            raise InputInvalidError(report.problem)
        if result is None:
            raise EngineFailedError(report.problem)
        if not result.is_cut:
            self._text.finish()
        return result

    async def _wait(self, content: bytes, stop: asyncio.Event) -> Report:
        following = asyncio.create_task(self._follow(content))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                await self._call("stop", self._id)
                await asyncio.wait({following}, timeout=STOP_SECONDS)
            if not following.done():
                raise HostLostError(f"a run did not stop within {STOP_SECONDS:.0f} s")
            return await following
        finally:
            for task in (following, stopping):
                task.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)

    async def _follow(self, content: bytes) -> Report:
        report = decode(await self._call("run", self._id, content), Report)
        while True:
            self._length += len(report.text)
            self._text.add(max(0, min(99, report.progress)), report.text)
            if report.is_end:
                return report
            report = decode(await self._call("follow", self._id, self._length), Report)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await self._host.call(method, *arguments, seconds=SILENCE_SECONDS)
