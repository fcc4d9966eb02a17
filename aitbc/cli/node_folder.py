"""What a command does inside a node's data folder: the first API key, and checking the chain."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordinator import accounts
from coordinator.principals import Role
from genesis.document import compute_chain_id
from node.backup import backup
from node.chain_store import ChainStore
from node.clock import get_wall_time
from node.database import Database
from node.folder import (
    TABLES,
    FolderLock,
    FolderLocked,
    find_database_key,
    get_address,
    open_database,
    open_genesis,
)
from node.settings import NodeSettings, load_settings
from node.verify_chain import verify_chain

_SECONDS_BETWEEN_NOTES = 2.0


def make_operator_key(data: Path, seed: bytes) -> str:
    """Return the first operator's API key of a new node, for the account of the node itself."""
    coordinator = get_address(seed)
    now = get_wall_time()

    def work(connection: Any) -> str:
        account = accounts.find_or_add_account(connection, coordinator, now)
        made = accounts.create_key(
            connection, coordinator, account, Role.OPERATOR, "first operator", now
        )
        return made.key

    settings = load_settings(data=data)
    database = open_database(settings, open_genesis(data))
    try:
        return database.write_now(work)
    finally:
        database.close_now()


def verify_database(settings: NodeSettings, say: Callable[[str], None]) -> dict[str, object]:
    """Return what checking the whole chain again found. Raises `OperatorError`."""
    genesis = open_genesis(settings.data)
    key = find_database_key(settings)
    begin = time.monotonic()
    last_note = begin

    def on_block(height: int, head: int) -> None:
        nonlocal last_note
        if time.monotonic() - last_note >= _SECONDS_BETWEEN_NOTES:
            last_note = time.monotonic()
            say(f"  block {height} of {head}")

    with _find_still_database(settings, key, genesis.is_dev, say) as path:
        database = Database.open(path, key, tables=TABLES, is_dev=genesis.is_dev)
        try:
            store = ChainStore(database, compute_chain_id(genesis))
            try:
                report = verify_chain(store, genesis, on_block)
            finally:
                store.close()
        finally:
            database.close_now()
    return {
        "valid": True,
        "height": report.height,
        "state_root": report.state_root.hex(),
        "transactions": report.transactions,
        "settlements": report.settlements,
        "entries": report.entries,
        "seconds": round(time.monotonic() - begin, 2),
    }


@contextmanager
def _find_still_database(
    settings: NodeSettings, key: bytes | None, is_dev: bool, say: Callable[[str], None]
) -> Iterator[Path]:
    """Yield a database that nobody writes: the node's own, or a copy while the node runs."""
    path = settings.get_database_path()
    try:
        lock = FolderLock(settings.data)
    except FolderLocked:
        with tempfile.TemporaryDirectory(dir=settings.data, prefix=".verify-") as folder:
            say("the node is running; checking a copy of this moment")
            copy = Path(folder) / path.name
            backup(path, key, copy, is_dev=is_dev)
            yield copy
        return
    try:
        yield path
    finally:
        lock.release()
