"""Decides how an engine on a node serves the miner: files in, a run, its text, its end.

It knows no Ray: an object whose coroutines are called from afar, all on one event loop. Whoever
calls asks how far a run is and waits a while for news (`follow`), so that a text flows without a
connection of its own, and nothing is lost or told twice.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from miner.engines.interface import (
    OUTPUT,
    Engine,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
)
from miner.gpu.announcement import choose_announced
from miner.gpu.device import DeviceMissingError
from miner.kinds import KindUnavailableError
from miner.opening import open_engines
from miner.pools.messages import CHUNK_BYTES, Greeting, Report, encode, get_release
from miner.pools.transfer import append
from miner.results import check_files, open_plain
from miner.settings import MinerSettings

FOLLOW_SECONDS: Final = 2.0
"""How long a question waits for news."""
PROGRESS_SECONDS: Final = 0.25
"""How often a number alone is news; text and ends are at once."""
MEMBER: Final = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
MAX_PROBLEM_CHARACTERS: Final = 500
PREFIX: Final = "aitbc-job-"
"""Of a run's folder; the process it is of follows."""


class _Run:
    """One job on its way. Its folder is removed with it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=folder))
        self.files = {OUTPUT: self.folder / OUTPUT}
        self.files[OUTPUT].mkdir(mode=0o700)
        self.stop = asyncio.Event()
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.text = ""
        self.progress = 0
        self.result: EngineResult | None = None
        self.problem = ""
        self.is_invalid = False

    @property
    def is_over(self) -> bool:
        return self.result is not None or bool(self.problem)

    def note(self, progress: int, piece: str) -> None:
        self.progress = max(self.progress, progress)
        self.text += piece
        if piece:
            self.changed.set()

    async def wait_for_news(self, length: int) -> None:
        """Return when there is more text than `length`, or the end, or after a while."""
        before, seconds = self.progress, FOLLOW_SECONDS
        while len(self.text) <= length and not self.is_over and seconds > 0:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await self.changed.wait()
            seconds -= PROGRESS_SECONDS
            if self.progress != before:
                return


class EngineHost:
    """One engine of one kind, on the machine where this object lives.

    `settings` are what the miner's operator set, with this kind alone; the node's own environment
    (`AITBC_MINER_…`) counts where they say nothing. Jobs' files lie in `folder`, or where the
    system has its temporary ones.
    """

    def __init__(self, kind: str, settings: Mapping[str, Any], folder: Path | None = None) -> None:
        self._kind = kind
        self._folder = folder
        self._settings = dict(settings)
        self._engine: Engine | None = None
        self._runs: dict[str, _Run] = {}

    async def prepare(self) -> bytes:
        """Bring the engine up, its model fetched by hash, and return a `Greeting`."""
        release, access = get_release(), os.environ.get("RAY_AUTH_MODE", "")
        await asyncio.to_thread(sweep_runs, self._folder or Path(tempfile.gettempdir()))
        try:
            settings = MinerSettings(**self._settings)
            engines = await open_engines(settings)
            self._engine = engines[self._kind]
            description = await self._engine.prepare()
            gpu = await choose_announced(settings, engines)
        except (KindUnavailableError, DeviceMissingError, EngineFailedError, ValueError) as error:
            problem = str(error)[:MAX_PROBLEM_CHARACTERS] or type(error).__name__
            return encode(Greeting(release, access, problem=problem))
        return encode(Greeting(release, access, description, gpu))

    async def ping(self) -> int:
        """Return the number of runs: the event loop turns."""
        return len(self._runs)

    async def receive(self, run_id: str, member: str, chunk: bytes) -> None:
        """Add to a file of a run that is to come."""
        if MEMBER.fullmatch(member) is None or member == OUTPUT:
            raise ValueError(f"not the name of an input: {member!r}")
        run = self._get(run_id)
        run.files[member] = run.folder / member
        await asyncio.to_thread(append, run.files[member], chunk)

    async def run(self, run_id: str, content: bytes) -> bytes:
        """Begin a run and return its first `Report`."""
        run = self._get(run_id)
        assert run.task is None
        run.task = asyncio.create_task(self._run(run, json.loads(content)))
        return await self.follow(run_id, 0)

    async def follow(self, run_id: str, length: int) -> bytes:
        """Return a `Report` as soon as a run has news beyond `length` characters of its text.

        A run whose end was told is forgotten, unless its result has files to be taken.
        """
        run = self._runs[run_id]
        await run.wait_for_news(length)
        report = Report(
            run.progress, run.text[length:], run.result, run.problem, is_invalid=run.is_invalid
        )
        if report.is_end and not (run.result and run.result.files):
            await self.end(run_id)
        return encode(report)

    async def take(self, run_id: str, number: int, offset: int) -> bytes:
        """Return the next piece of a file of a run's result; less than a whole one is the last."""
        result = self._runs[run_id].result
        assert result is not None
        return await asyncio.to_thread(_read_plain, result.files[number].path, offset)

    async def stop(self, run_id: str) -> None:
        """Have a run end soon, with what there is by then; it may not have begun yet."""
        self._get(run_id).stop.set()

    async def end(self, run_id: str) -> None:
        """Forget a run, whatever it does, and remove its files."""
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        if run.task is not None:
            run.task.cancel()
            await asyncio.gather(run.task, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)

    async def close(self) -> None:
        """End every run and the engine."""
        for run_id in list(self._runs):
            await self.end(run_id)
        if self._engine is not None:
            await self._engine.close()

    def _get(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            self._runs[run_id] = _Run(self._folder)
        return self._runs[run_id]

    async def _run(self, run: _Run, content: dict[str, Any]) -> None:
        assert self._engine is not None
        try:
            task = self._engine.read(content)
            result = await task.run(run.files, run.note, run.stop)
            await asyncio.to_thread(check_files, result.files, run.files[OUTPUT])
            run.result = result
        except InputInvalidError as error:
            run.problem, run.is_invalid = str(error) or "the input is invalid", True
        except EngineFailedError as error:
            run.problem = str(error) or "the engine failed"
        except Exception as error:  # noqa: BLE001 - whatever fails here costs one job
            run.problem = f"{type(error).__name__}: {error}"
        finally:
            run.problem = run.problem[:MAX_PROBLEM_CHARACTERS]
            run.changed.set()


def sweep_runs(folder: Path) -> None:
    """Remove what the runs of processes that were killed left in a folder. Blocking."""
    for path in folder.glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)


def _read_plain(path: Path, offset: int) -> bytes:
    with open_plain(path) as source:
        source.seek(offset)
        return source.read(CHUNK_BYTES)
