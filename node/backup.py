"""A copy of the database, made while the node runs: one moment, same key, whole or not there."""

import os
from pathlib import Path

import sqlcipher3

from ledger.keystore import sync_folder
from node import sqlcipher
from node.database_errors import DatabaseError, DatabaseExists


def backup(path: Path, key: bytes | None, destination: Path, *, is_dev: bool = False) -> None:
    """Write a durable copy of mode 0600 that is encrypted with the same key.

    Takes one snapshot; writers go on meanwhile. Raises `DatabaseExists` rather than overwrite, the
    other classes of node/database_errors.py, and `OSError` for a full or missing folder.
    """
    sqlcipher.check_bundled_engine()
    sqlcipher.check_files(path, key, is_dev=is_dev)
    if os.path.lexists(destination):
        raise DatabaseExists(f"there is a file at {destination} already")
    partial = destination.with_name(destination.name + ".partial")
    partial.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600)
    try:
        _copy(path, key, partial)
        os.fsync(descriptor)
        sqlcipher.check_files(partial, key, is_dev=is_dev)
        # Unlike a rename, a link never replaces a file that appeared meanwhile.
        os.link(partial, destination)
    except FileExistsError:
        raise DatabaseExists(f"there is a file at {destination} already") from None
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)
    sync_folder(destination.parent)


def _copy(path: Path, key: bytes | None, partial: Path) -> None:
    connection = sqlcipher.connect(path, key, is_reader=False)
    try:
        connection.execute("vacuum into ?", (str(partial),))
    except sqlcipher3.DatabaseError as error:
        raise DatabaseError(f"the database {path} cannot be copied: {error}") from error
    finally:
        connection.close()
