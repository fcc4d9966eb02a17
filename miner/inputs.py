"""Decides how what a job names as its source becomes a file here: fetched, bounded, checked.

It lies in a private folder that is removed with the job, beside room for the result's files.
Addresses are a stranger's choice and are asked by `outbound` alone. Files of the client come from
the job's coordinator, and must have the hash that the content, which the terms bind, gives them.
"""

import asyncio
import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import structlog

from ledger.faults import Reason
from miner.engines.interface import OUTPUT, InputInvalidError
from miner.wire import PASSING_STATUSES, Wire
from miner.work import Work
from outbound.errors import OutboundError
from outbound.fetch import fetch

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
FETCH_SECONDS: Final = 300.0
"""How long an address may take, its redirects among it."""
ATTEMPTS: Final = 4
FIRST_PAUSE: Final = 0.3
DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

log = structlog.get_logger(__name__)


class ContentMissingError(Exception):
    """The coordinator does not hand over a file of the job, or hands over another."""

    reason = Reason.CONTENT_UNAVAILABLE


class Inputs:
    """Where inputs lie while their jobs run. What an end without warning left is removed first.

    `allow_loopback` is for trials: addresses of this very machine are fetched from as well.
    """

    def __init__(
        self, folder: Path, wire: Wire, miner_id: str, *, allow_loopback: bool = False
    ) -> None:
        self._allow_loopback = allow_loopback
        self._folder = folder
        self._wire = wire
        self._miner_id = miner_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)

    @contextlib.asynccontextmanager
    async def open_folder(self) -> AsyncIterator[Path]:
        """Give a private folder that is removed at the end."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._folder))
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def fetch(self, work: Work, sources: Mapping[str, str], folder: Path) -> dict[str, Path]:
        """Return where each source lies, by the member that names it, and `OUTPUT` beside them.

        Raises `InputInvalidError` for an address that gives nothing, and `ContentMissingError`.
        """
        paths = {OUTPUT: folder / OUTPUT}
        paths[OUTPUT].mkdir(mode=0o700)
        for member, source in sources.items():
            paths[member] = folder / member
            if source.startswith("file_"):
                await self._fetch_file(work, source, paths[member])
            else:
                await self._fetch_address(source, paths[member])
        return paths

    async def _fetch_address(self, url: str, path: Path) -> None:
        try:
            await fetch(
                url,
                path,
                max_bytes=MAX_FILE_BYTES,
                total_seconds=FETCH_SECONDS,
                allow_loopback=self._allow_loopback,
            )
        except OutboundError as error:
            raise InputInvalidError(f"the address gives no input: {error}") from None

    async def _fetch_file(self, work: Work, file_id: str, path: Path) -> None:
        assert work.lease is not None and work.content is not None
        expected = find_digest(work.content, file_id)
        query = {"miner_id": self._miner_id, "report_token": work.lease.report_token}
        for attempt in range(ATTEMPTS):
            try:
                async with self._wire.request(
                    "GET", f"/v1/jobs/{work.job_id}/files/{file_id}", query
                ) as response:
                    if response.status_code == 200:
                        digest = await _save(response.aiter_bytes(), path)
                        if digest != expected:
                            raise ContentMissingError(f"{file_id} is not the file that was named")
                        return
                    problem = f"status {response.status_code}"
                    if response.status_code not in PASSING_STATUSES:
                        break
            except httpx2.HTTPError as error:
                problem = type(error).__name__
            log.info("asking for a file again", job=work.job_id, file=file_id, reason=problem)
            await asyncio.sleep(FIRST_PAUSE * 2**attempt)
        raise ContentMissingError(f"{file_id} is not handed over: {problem}")


async def _save(chunks: AsyncIterator[bytes], path: Path) -> str:
    """Write what comes, up to the limit, and return its SHA-256. Raises `ContentMissingError`."""
    hasher = hashlib.sha256()
    size = 0
    with path.open("wb") as sink:
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                raise ContentMissingError(f"the file is over {MAX_FILE_BYTES} bytes")
            hasher.update(chunk)
            await asyncio.to_thread(sink.write, chunk)
    return hasher.hexdigest()


def find_digest(content: Mapping[str, Any], file_id: str) -> str:
    """Return the SHA-256 that a content gives a file. Raises `InputInvalidError`."""
    try:
        digest = content["files"][file_id]["sha256"]
    except (LookupError, TypeError):
        digest = None
    if not isinstance(digest, str) or DIGEST.fullmatch(digest) is None:
        raise InputInvalidError(f"the content gives {file_id} no hash")
    return digest
