"""Decides how work rests on disk: one encrypted file a claim, written whole or not at all.

The files hold what clients asked and were answered, so they are sealed with a key derived from the
miner's own. A file that does not open is set aside under another name and told of: it may belong
to another key, and deleting it would be the loss that the spool is there to prevent.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

import msgspec
import structlog
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from ledger.keystore import write_private_file
from miner.work import Work

PURPOSE: Final = b"aitbc/miner-spool/1\x00"
SUFFIX: Final = ".work"
ASIDE: Final = ".unreadable"
SPOOL: Final = "spool"
"""Of the data folder."""
LOCK: Final = "lock"
FLOCK: Final = struct.Struct("hhqqi4x")
"""The kernel's `struct flock` on a machine of 64 bits: type, whence, start, length, process id."""
MAX_FILE_BYTES: Final = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


class SpoolBusyError(Exception):
    """Another process uses the folder."""


class Spool:
    """The claims of one miner. Blocking; one process at a time."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Raises `SpoolBusyError`, `OSError`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self._folder = folder
        self._box = SecretBox(key)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Work)
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells others who we are
        except OSError:
            os.close(self._lock)
            raise SpoolBusyError(f"another miner uses {folder}") from None

    def save(self, work: Work) -> None:
        """Make a claim's record durable, in place of the one before it."""
        sealed = self._box.encrypt(self._encoder.encode(work))
        write_private_file(self._get_path(work.job), sealed, is_new=False)

    def remove(self, job: bytes) -> None:
        """Forget a claim that is over. After a power cut it may be back, and is over again."""
        self._get_path(job).unlink(missing_ok=True)

    def load(self) -> list[Work]:
        """Return every claim that is not over, oldest first."""
        for leftover in self._folder.glob(f".*{SUFFIX}.*"):
            leftover.unlink()
        found = []
        paths = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in paths:
            work = self._read(path)
            if work is not None:
                found.append(work)
        return found

    def close(self) -> None:
        """Let the next process have the folder."""
        os.close(self._lock)

    def _read(self, path: Path) -> Work | None:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError("the file is too large")
            work = self._decoder.decode(self._box.decrypt(path.read_bytes()))
            if self._get_path(work.job) != path:
                raise ValueError("the file is under another job's name")
            return work
        except (CryptoError, ValueError, msgspec.MsgspecError) as error:
            path.rename(path.with_suffix(ASIDE))
            log.error("spooled work set aside", file=path.name, error=str(error))
            return None

    def _get_path(self, job: bytes) -> Path:
        return self._folder / f"{job.hex()}{SUFFIX}"


def find_owner(folder: Path) -> int | None:
    """Return the process id of the miner that uses a spool's folder, as the kernel says it.

    None where no process does; 0 where it is one that this process cannot see, as from outside of a
    container. Raises `OSError`, among it for a folder that is no spool.
    """
    with (folder / LOCK).open("rb+") as file:
        asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, process = FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else max(0, process)


def list_claims(folder: Path) -> list[str]:
    """Return the ids of the jobs that a spool's folder holds, running or owed, oldest first."""
    found = [(_read_time(path), f"job_{path.stem}") for path in folder.glob(f"*{SUFFIX}")]
    return [job_id for _, job_id in sorted(found)]


def _read_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # settled just now
        return 0
