"""Writing a file that was not there: durable and whole under its name, or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.keystore import sync_folder
from node.database_errors import DatabaseExists


@contextmanager
def new_file(destination: Path) -> Iterator[Path]:
    """Yield an empty file of mode 0600 beside the destination; it takes that name afterwards.

    Raises `DatabaseExists` rather than overwrite, and `OSError` for a full or missing folder.
    """
    if os.path.lexists(destination):
        raise DatabaseExists(f"there is a file at {destination} already")
    partial = destination.with_name(destination.name + ".partial")
    partial.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600)
    try:
        yield partial
        os.fsync(descriptor)
        # Unlike a rename, a link never replaces a file that appeared meanwhile.
        os.link(partial, destination)
    except FileExistsError:
        raise DatabaseExists(f"there is a file at {destination} already") from None
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)
    sync_folder(destination.parent)
