"""Decides how the files of a result reach the job's coordinator, before the work counts as done.

What an engine left is a stranger's bytes: plain files below the run's own folder, each with a name
of its own, no more and no larger than a result may be. A file is offered until it is taken or the
job is over, and what was stored must be what lies here.
"""

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import httpx2
import structlog

from ledger.faults import Reason
from miner.engines.interface import (
    MAX_RESULT_BYTES,
    MAX_RESULT_FILES,
    EngineFailedError,
    ResultFile,
)
from miner.wire import PASSING_STATUSES, Wire

MAX_NAME_CHARACTERS: Final = 200
FIRST_PAUSE: Final = 0.3
LONGEST_PAUSE: Final = 5.0
BELIEVED_REFUSALS: Final = 4
"""One node may be a block behind, or not be the one that knows the job: it is asked again."""
TOO_LARGE: Final = 413
MAX_ANSWER_BYTES: Final = 65_536

log = structlog.get_logger(__name__)


class ResultRefusedError(Exception):
    """The coordinator does not take a file of the result."""

    reason = Reason.CONTENT_UNAVAILABLE


class ResultFiles:
    """One job's result files on their way. `query` proves the lease."""

    def __init__(self, wire: Wire, job_id: str, query: Mapping[str, str | None]) -> None:
        self._wire = wire
        self._job_id = job_id
        self._query = query

    async def store(self, files: Sequence[ResultFile], folder: Path) -> list[dict[str, Any]]:
        """Return what the result says of each file, which lies below `folder`.

        Takes as long as the coordinator needs. Raises `EngineFailedError` for files that are none,
        and `ResultRefusedError`.
        """
        check_files(files, folder)
        return [await self._store(file) for file in files]

    async def _store(self, file: ResultFile) -> dict[str, Any]:
        pause, refusals = FIRST_PAUSE, 0
        with open_plain(file.path) as source:
            digest = await asyncio.to_thread(_hash, source)
            size = source.tell()
            while True:
                source.seek(0)
                try:
                    status, answer = await self._offer(file, source)
                    if status == 201:
                        return _describe(file, answer, size, digest)
                    problem = f"status {status}"
                    refusals += status not in PASSING_STATUSES
                    if status == TOO_LARGE or refusals >= BELIEVED_REFUSALS:
                        raise ResultRefusedError(f"{file.name} is not taken: {problem}")
                except httpx2.HTTPError as error:
                    problem = type(error).__name__
                log.info("offering a file again", job=self._job_id, file=file.name, reason=problem)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)

    async def _offer(self, file: ResultFile, source: BufferedReader) -> tuple[int, bytes]:
        async with self._wire.request(
            "POST",
            f"/v1/jobs/{self._job_id}/files",
            self._query,
            files={"file": (file.name, source, file.media_type)},
        ) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break
        return response.status_code, body


def check_files(files: Sequence[ResultFile], folder: Path) -> None:
    """Raise `EngineFailedError` unless files can be a result, and lie below `folder`."""
    if len(files) > MAX_RESULT_FILES:
        raise EngineFailedError(f"a result is at most {MAX_RESULT_FILES} files")
    if len({file.name for file in files}) != len(files):
        raise EngineFailedError("two files of the result have one name")
    size = 0
    for file in files:
        if not 0 < len(file.name) <= MAX_NAME_CHARACTERS or not file.name.isprintable():
            raise EngineFailedError(f"not the name of a result file: {file.name[:80]!r}")
        if not file.path.parent.resolve().is_relative_to(folder.resolve()):
            raise EngineFailedError(f"{file.name} is no file of this run")
        with open_plain(file.path) as source:
            size += os.fstat(source.fileno()).st_size
    if size > MAX_RESULT_BYTES:
        raise EngineFailedError(f"the result is {size} bytes; at most {MAX_RESULT_BYTES} are taken")


def open_plain(path: Path) -> BufferedReader:
    """Open what is a file and no link to one. Raises `EngineFailedError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise EngineFailedError(f"a result file cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise EngineFailedError(f"{path.name} is no plain file")
    return os.fdopen(descriptor, "rb")


def _hash(source: BufferedReader) -> str:
    return hashlib.file_digest(source, "sha256").hexdigest()


def _describe(file: ResultFile, answer: bytes, size: int, digest: str) -> dict[str, Any]:
    try:
        stored = json.loads(answer)
        file_id = stored["file_id"]
        is_same = (stored["size"], stored["sha256"]) == (size, digest)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ResultRefusedError(f"{file.name}: the answer is none") from None
    if not isinstance(file_id, str) or not is_same:
        raise ResultRefusedError(f"{file.name} was stored as another file")
    return {
        "file_id": file_id,
        "name": file.name,
        "content_type": file.media_type,
        "size": size,
        "sha256": digest,
    }
