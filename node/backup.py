"""A copy of the database, made while the node runs: one moment, same key, whole or not there."""

from pathlib import Path

import sqlcipher3

from node import sqlcipher
from node.database_errors import DatabaseError
from node.new_file import new_file


def backup(path: Path, key: bytes | None, destination: Path, *, is_dev: bool = False) -> None:
    """Write a durable copy of mode 0600 that is encrypted with the same key.

    Takes one snapshot; writers go on meanwhile. Raises `DatabaseExists` rather than overwrite, the
    other classes of node/database_errors.py, and `OSError` for a full or missing folder.
    """
    sqlcipher.check_bundled_engine()
    sqlcipher.check_files(path, key, is_dev=is_dev)
    with new_file(destination) as partial:
        _copy(path, key, partial)
        sqlcipher.check_files(partial, key, is_dev=is_dev)


def _copy(path: Path, key: bytes | None, partial: Path) -> None:
    connection = sqlcipher.connect(path, key, is_reader=False)
    try:
        connection.execute("vacuum into ?", (str(partial),))
    except sqlcipher3.DatabaseError as error:
        raise DatabaseError(f"the database {path} cannot be copied: {error}") from error
    finally:
        connection.close()
