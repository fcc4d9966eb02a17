"""The key file: 64 hexadecimal digits that only the node's user can read.

While the key is being changed a second file lies beside it, `<name>.new`; node/rekey.py decides
which of the two holds.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from ledger.keystore import sync_folder
from node.database_errors import (
    DatabaseExists,
    DatabaseKeyMissing,
    DatabaseKeyWrong,
    KeyFilePermissions,
)

KEY_BYTES: Final = 32
_LONGEST_FILE: Final = 2 * KEY_BYTES + 2


def create_key() -> bytes:
    """Return a fresh random key (32 bytes)."""
    return secrets.token_bytes(KEY_BYTES)


def get_new_key_path(path: Path) -> Path:
    """Return where the next key lies while the database is being re-encrypted."""
    return path.with_name(path.name + ".new")


def read_key(path: Path) -> bytes:
    """Return the key in a file of mode 0600 that belongs to this process's user.

    Raises `DatabaseKeyMissing`, `KeyFilePermissions`, `DatabaseKeyWrong`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise DatabaseKeyMissing(f"there is no key file at {path}") from None
    except OSError as error:
        raise KeyFilePermissions(
            f"the key file {path} cannot be opened: {error.strerror}"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFilePermissions(f"the key file {path} is not a plain file")
        if status.st_uid != os.geteuid():
            raise KeyFilePermissions(f"the key file {path} belongs to another user")
        if stat.S_IMODE(status.st_mode) & ~0o600:
            raise KeyFilePermissions(f"the key file {path} is open to others: chmod 600 {path}")
        text = os.read(descriptor, _LONGEST_FILE + 1)
    finally:
        os.close(descriptor)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or len(text) > _LONGEST_FILE:
        raise DatabaseKeyWrong(f"the key file {path} does not hold 64 hexadecimal digits")
    return key


def write_key(path: Path, key: bytes) -> None:
    """Write a key durably into a new file of mode 0600. Raises `DatabaseExists`."""
    assert len(key) == KEY_BYTES
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise DatabaseExists(f"there is a key file at {path} already") from None
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, key.hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
