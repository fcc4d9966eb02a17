"""What a process did to the files of a folder, in one order, while the shipped code ran in it.

The process is preloaded with recorder.c. What it tells the world meanwhile stands in the same log:
it writes each acknowledgement, in one call, to a file of its own in the recorded folder.
"""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final

from msgspec import Struct

ACKNOWLEDGED: Final = "acknowledged"
"""The file of acknowledgements; it is in no image of the disk."""
_SOURCE: Final = Path(__file__).with_name("recorder.c")
_HEAD: Final = struct.Struct("<BiQIII")
_SECONDS: Final = 100


class Kind(IntEnum):
    """The calls that a log knows, by their numbers in recorder.c."""

    OPEN = 1
    CREATE = 2
    CLOSE = 3
    WRITE = 4
    TRUNCATE = 5
    SYNC = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    MAKE_FOLDER = 10


class Operation(Struct, frozen=True):
    """One call that succeeded. `position` is a write's offset or the length of a truncation."""

    kind: Kind
    descriptor: int
    position: int
    path: str
    target: str
    data: bytes


class Recording(Struct, frozen=True):
    """All that happened to a folder that was empty before, and the folder as it was left."""

    folder: Path
    operations: tuple[Operation, ...]


def record(arguments: list[str], folder: Path) -> Recording:
    """Run Python with arguments and record an empty folder until it ends.

    The log and the recorder lie beside the folder. Raises `CalledProcessError` where it fails.
    """
    folder = folder.resolve()
    log, library = (folder.with_name(folder.name + suffix) for suffix in (".log", ".so"))
    _build_recorder(library)
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "RECORD_FOLDER": str(folder),
        "RECORD_LOG": str(log),
    }
    subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        check=True,
        timeout=_SECONDS,
    )
    return Recording(folder, tuple(_parse(log.read_bytes())))


def _build_recorder(library: Path) -> None:
    """Compile the recorder; the set-up of the project needs gcc anyway."""
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)


def _parse(log: bytes) -> Iterator[Operation]:
    position = 0
    while position < len(log):
        kind, descriptor, at, *lengths = _HEAD.unpack_from(log, position)
        position += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(log[position : position + length])
            position += length
        path, target, data = parts
        yield Operation(Kind(kind), descriptor, at, path.decode(), target.decode(), data)
