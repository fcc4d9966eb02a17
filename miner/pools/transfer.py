"""Decides how files go to a job's node and come back: in pieces, bounded, and never through links.

What an engine left is a stranger's bytes. The node checks that it is plain files below the run's
own folder before it says that they are there; here their number and size are bounded once more.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from miner.engines.interface import (
    MAX_RESULT_BYTES,
    MAX_RESULT_FILES,
    OUTPUT,
    EngineFailedError,
    EngineResult,
)
from miner.pools.members import Host
from miner.pools.messages import CHUNK_BYTES, MessageError

PIECE_SECONDS: Final = 60.0
"""For a piece of `CHUNK_BYTES` to go or come."""


async def send_sources(host: Host, run_id: str, files: Mapping[str, Path]) -> None:
    """Send a run's sources ahead of it. Raises `HostLostError`."""
    for name, path in files.items():
        if name != OUTPUT:
            await _send(host, run_id, name, path)


async def _send(host: Host, run_id: str, name: str, path: Path) -> None:
    offset = 0
    while (chunk := await asyncio.to_thread(_read, path, offset)) or not offset:
        await host.call("receive", run_id, name, chunk, seconds=PIECE_SECONDS)
        offset += len(chunk)
        if not chunk:
            return  # an empty file is a file


async def fetch_results(
    host: Host, run_id: str, result: EngineResult, folder: Path, stop: asyncio.Event
) -> EngineResult:
    """Return a result whose files lie in `folder`; told to stop before that, without them.

    Raises `HostLostError`, `MessageError`, and `EngineFailedError` for more than a result may be.
    """
    if len(result.files) > MAX_RESULT_FILES:
        raise EngineFailedError(f"a result is at most {MAX_RESULT_FILES} files")
    fetched, room = [], MAX_RESULT_BYTES
    for number, file in enumerate(result.files):
        path, offset = folder / str(number), 0
        while True:
            if stop.is_set():
                return msgspec.structs.replace(result, files=(), is_cut=True)
            chunk = await host.call("take", run_id, number, offset, seconds=PIECE_SECONDS)
            _check_piece(chunk)
            room -= len(chunk)
            if room < 0:
                raise EngineFailedError(f"of a result at most {MAX_RESULT_BYTES} bytes are taken")
            await asyncio.to_thread(append, path, chunk)
            offset += len(chunk)
            if len(chunk) < CHUNK_BYTES:
                break
        fetched.append(msgspec.structs.replace(file, path=path))
    return msgspec.structs.replace(result, files=tuple(fetched))


def append(path: Path, chunk: bytes) -> None:
    """Write the next piece of a file."""
    with path.open("ab") as sink:
        sink.write(chunk)


def _check_piece(chunk: Any) -> None:
    if not isinstance(chunk, bytes) or len(chunk) > CHUNK_BYTES:
        raise MessageError("a node's piece of a file is none")


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as source:
        source.seek(offset)
        return source.read(CHUNK_BYTES)
