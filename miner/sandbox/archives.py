"""Decides what is taken out of an archive that a stranger made: plain files with plain names.

The tape archive is read by its blocks, since what Python's reader makes of hostile ones has more
than once been an endless loop; only its headers are understood (POSIX ustar, pax 4.18). Whatever is
no plain file or folder, links and devices among it, is left out.
"""

import errno
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

BLOCK: Final = 512
CHUNK: Final = 1024 * 1024
MAX_NAME_BYTES: Final = 255
MAX_MEMBERS: Final = 20_000
"""Files, folders, links and whatever else an archive may list."""
MAX_DIRECTORY_BYTES: Final = 1024 * 1024
"""Of a zip: ten thousand members and more."""
ZIP_END_BYTES, ZIP_LOCATOR_BYTES = 22, 20
MAX_RATIO: Final = 200
"""Bytes that one byte of a compressed member may stand for."""


class ArchiveRefusedError(Exception):
    """The archive is none, or holds more than it may."""


class Room(NamedTuple):
    """What an archive may hold."""

    files: int
    size: int
    """Bytes of all files."""


def is_plain_name(name: str) -> bool:
    """Tell whether a path stays below where it is put, and is one on every system."""
    parts = name.split("/")
    return (
        name.isprintable()
        and len(name.encode()) <= MAX_NAME_BYTES
        and all(part not in ("", ".", "..") for part in parts)
        and not any(character in '\\:*?"<>|' for character in name)
    )


def read_tape(stream: IO[bytes], folder: Path, room: Room) -> list[Path]:
    """Write the plain files of an uncompressed tape archive below `folder`; return their paths.

    Raises `ArchiveRefusedError` for more than `room` and for what is no archive.
    """
    written: list[Path] = []
    left = room.size
    for _ in range(MAX_MEMBERS):
        head = _read_exactly(stream, BLOCK)
        if head.count(0) == BLOCK:
            return written
        try:
            member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ArchiveRefusedError(f"not an archive: {error}") from None
        if member.size < 0 or member.size > left:
            raise ArchiveRefusedError(f"more than {room.size} bytes")
        name = member.name.removeprefix("./")
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and is_plain_name(name):
            if len(written) == room.files:
                raise ArchiveRefusedError(f"more than {room.files} files")
            left -= member.size
            written.append(_write(folder, name, _iterate(stream, member.size)))
        else:
            for _piece in _iterate(stream, member.size):
                pass
        _read_exactly(stream, -member.size % BLOCK)
    raise ArchiveRefusedError(f"more than {MAX_MEMBERS} members")


def read_zip(archive: Path, folder: Path, room: Room) -> list[Path]:
    """Write the plain files of a zip archive below `folder`; return their paths.

    Raises `ArchiveRefusedError`, also for a name that is not plain: a zip is somebody's deliberate
    work, and a file that silently is not there would be found out late.
    """
    written: list[Path] = []
    left = room.size
    _check_directory(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if member.is_dir():
                    continue
                kind = member.external_attr >> 16 & 0o170000
                if not is_plain_name(member.filename) or kind not in (0, 0o100000):
                    raise ArchiveRefusedError(f"{member.filename[:80]!r} is no plain file's name")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ArchiveRefusedError(f"{member.filename[:80]!r} is packed in a rare way")
                if len(written) == room.files:
                    raise ArchiveRefusedError(f"more than {room.files} files")
                if member.file_size > left:
                    raise ArchiveRefusedError(f"more than {room.size} bytes")
                if member.file_size > max(1, member.compress_size) * MAX_RATIO:
                    raise ArchiveRefusedError(f"{member.filename[:80]!r} is packed too tightly")
                left -= member.file_size
                with opened.open(member) as source:
                    # The reader stops at the length that the directory names.
                    pieces = iter(partial(source.read, CHUNK), b"")
                    written.append(_write(folder, member.filename, pieces))
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error),
        *(RuntimeError, EOFError, ValueError),
    ) as error:
        raise ArchiveRefusedError(f"not an archive: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveRefusedError("not an archive: a member lies before its beginning") from None
    return written


def _check_directory(archive: Path) -> None:
    """Refuse a zip whose directory is large: Python's reader takes all of it into memory.

    The end record is looked for as that reader does (zipfile, APPNOTE 4.3.16): the last bytes where
    they are one without a comment, else the last such mark before them.
    """
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - ZIP_END_BYTES - 2**16 - ZIP_LOCATOR_BYTES))
        tail = file.read()
    place = len(tail) - ZIP_END_BYTES
    if place < 0:
        raise ArchiveRefusedError("not an archive: it is too short")
    if not (tail.startswith(b"PK\5\6", place) and tail.endswith(b"\0\0")):
        place = tail.rfind(b"PK\5\6", max(0, len(tail) - ZIP_END_BYTES - 2**16))
    if place < 0 or len(tail) - place < ZIP_END_BYTES:
        raise ArchiveRefusedError("not an archive: it has no end")
    if place >= ZIP_LOCATOR_BYTES and tail.startswith(b"PK\6\7", place - ZIP_LOCATOR_BYTES):
        raise ArchiveRefusedError("a zip of the large kind (zip64)")
    (directory_bytes,) = struct.unpack_from("<I", tail, place + 12)
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise ArchiveRefusedError(f"its directory is over {MAX_DIRECTORY_BYTES} bytes")


def prune(folder: Path, room: Room) -> None:
    """Remove what is no plain file or folder. Raises `ArchiveRefusedError` for more than `room`."""
    files, size = 0, 0
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and is_plain_name(str(path.relative_to(folder))):
                files += 1
                size += status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                path.unlink()
    if files > room.files or size > room.size:
        raise ArchiveRefusedError(f"more than {room.files} files or {room.size} bytes")


def empty(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(folder: Path, name: str, pieces: Iterator[bytes]) -> Path:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as sink:
            for piece in pieces:
                sink.write(piece)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ArchiveRefusedError(f"{name[:80]!r} stands twice") from None
    return path


def _iterate(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = _read_exactly(stream, min(size, CHUNK))
        size -= len(piece)
        yield piece


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    pieces = []
    while size:
        piece = stream.read(size)
        if not piece:
            raise ArchiveRefusedError("the archive ends in the middle")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
