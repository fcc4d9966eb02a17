"""What a command does inside a node's data folder: the first API key, checking chain and proofs."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordinator import accounts
from coordinator.principals import Role
from genesis.document import Genesis, compute_chain_id
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
from node.proof_audit import audit_proofs
from node.settings import NodeSettings, load_settings
from node.snapshot_restore import read_base
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
    begin = time.monotonic()
    with _open_chain(settings, say) as (store, genesis):
        base = read_base(settings.data, genesis, store.base_height)
        if store.base_height:
            say(f"this chain begins with a snapshot of block {store.base_height}, which is proved "
                "from genesis; blocks are executed from there on")  # fmt: skip
        report = verify_chain(store, genesis, note_progress("block", say), base=base)
    return {
        "valid": True,
        "base_height": report.base_height,
        "height": report.height,
        "state_root": report.state_root.hex(),
        "transactions": report.transactions,
        "settlements": report.settlements,
        "entries": report.entries,
        "seconds": round(time.monotonic() - begin, 2),
    }


def audit_database(
    settings: NodeSettings, sample: int, say: Callable[[str], None]
) -> dict[str, object]:
    """Return what checking settlements' proofs with both backends found. Raises `OperatorError`."""
    from zk.backend_py_ecc import PY_ECC

    begin = time.monotonic()
    with _open_chain(settings, say) as (store, genesis):
        report = audit_proofs(
            store, genesis, sample, PY_ECC, time.monotonic, note_progress("proof", say)
        )
    return {
        "valid": True,
        "height": report.height,
        "settlements": report.settlements,
        "checked": report.checked,
        "arkworks_seconds": round(report.seconds, 3),
        "py_ecc_seconds": round(report.reference_seconds, 2),
        "seconds": round(time.monotonic() - begin, 2),
    }


def note_progress(what: str, say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return what hears the progress of a check, and says it from time to time."""
    last_note = time.monotonic()

    def on_step(number: int, last: int) -> None:
        nonlocal last_note
        if time.monotonic() - last_note >= _SECONDS_BETWEEN_NOTES:
            last_note = time.monotonic()
            say(f"  {what} {number} of {last}")

    return on_step


@contextmanager
def _open_chain(
    settings: NodeSettings, say: Callable[[str], None]
) -> Iterator[tuple[ChainStore, Genesis]]:
    """Yield the chain in a data folder, as nobody changes it meanwhile."""
    genesis = open_genesis(settings.data)
    key = find_database_key(settings)
    with find_still_database(settings, key, genesis.is_dev, say) as path:
        database = Database.open(path, key, tables=TABLES, is_dev=genesis.is_dev)
        try:
            store = ChainStore(database, compute_chain_id(genesis))
            try:
                yield store, genesis
            finally:
                store.close()
        finally:
            database.close_now()


@contextmanager
def find_still_database(
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
