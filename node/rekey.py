"""Changing the database's key: whenever it is cut short, one of two key files opens the database.

The next key lies durably beside the old one before the first page is re-encrypted; all pages change
in one transaction; the next key's file then takes the old one's name. `find_key` finishes what was
cut short.
"""

import os
from pathlib import Path

from ledger.keystore import sync_folder
from node import sqlcipher
from node.database_errors import (
    DatabaseDamaged,
    DatabaseKeyMissing,
    DatabaseKeyWrong,
    DatabaseMissing,
)
from node.key_file import create_key, get_new_key_path, read_key, write_key


def find_key(path: Path, key_path: Path) -> bytes:
    """Return the key of a database, after finishing a change of key that was cut short.

    Raises `DatabaseKeyMissing`, `KeyFilePermissions`, `DatabaseKeyWrong` and `DatabaseMissing`; no
    file was changed then.
    """
    new_path = get_new_key_path(key_path)
    if not os.path.lexists(new_path):
        return read_key(key_path)
    if not path.exists():
        raise DatabaseMissing(f"there is no database at {path}")
    old, new = _read_if_whole(key_path), _read_if_whole(new_path)
    if new is not None and _holds(path, new, old):
        new_path.replace(key_path)
        sync_folder(key_path.parent)
        return new
    if old is None or not sqlcipher.is_key(path, old):
        raise DatabaseKeyWrong(f"neither {key_path} nor {new_path} opens the database {path}")
    new_path.unlink()
    sync_folder(key_path.parent)
    return old


def change_key(path: Path, key_path: Path) -> None:
    """Re-encrypt a database that no process has open with a fresh key. The disk needs room for it.

    Raises the classes of node/database_errors.py. Running it again after a crash is safe.
    """
    sqlcipher.check_bundled_engine()
    key = find_key(path, key_path)
    sqlcipher.check_files(path, key, is_dev=False)
    connection = sqlcipher.connect(path, key, is_reader=False, is_alone=True)
    try:
        _empty_log(connection)
        new = create_key()
        write_key(get_new_key_path(key_path), new)
        connection.execute(f"pragma rekey=\"x'{new.hex()}'\"")
        _empty_log(connection)
    finally:
        connection.close()
    if find_key(path, key_path) != new:
        raise DatabaseDamaged(f"the database {path} kept its old key")


def _holds(path: Path, new: bytes, old: bytes | None) -> bool:
    """Tell whether a database is under its new key.

    Where the log holds pages under both keys, only its recovery can tell which of them count. Both
    keys are the database's own there, so trying the new one does nothing but empty the log.
    """
    if not sqlcipher.is_key(path, new):
        return False
    if old is None or not sqlcipher.is_key(path, old):
        return True
    try:
        sqlcipher.connect(path, new, is_reader=False).close()
    except DatabaseKeyWrong:
        return False
    return True


def _read_if_whole(path: Path) -> bytes | None:
    """Return the key in a file, or None when writing it was cut short before it was used."""
    try:
        return read_key(path)
    except (DatabaseKeyMissing, DatabaseKeyWrong):
        return None


def _empty_log(connection: sqlcipher.RawConnection) -> None:
    is_busy, _, _ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert not is_busy, "nobody else has the database open"
