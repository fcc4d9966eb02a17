"""Restoring a snapshot into a new node's database: in one transaction, whole or not at all.

The node's own rows stay. The file is kept beside the database, since a replay begins with it: what
`verify-chain` checks and what a rollback rebuilds follows from it and the blocks after it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from coordinator.sql import get_table
from coordinator.tables import FollowedRow, JobRow
from genesis.document import Genesis
from ledger.keystore import sync_folder
from ledger.rejection import Rejected
from node import block_rows, chain_base, folder, sqlcipher
from node.chain_store import naming_damage
from node.database_errors import DatabaseDamaged
from node.settings import NodeSettings
from node.snapshot import SnapshotImpossible
from node.snapshot_reader import SnapshotReader, SnapshotRefused, read_whole_state
from node.sqlcipher import RawConnection
from node.state_writer import StateWriter
from node.verify_chain import Base, build_genesis_base

BASE_FILE: Final = "base.snapshot"
"""The snapshot that a node's chain begins with, in its data folder."""


class Restored(NamedTuple):
    """Where the restored chain stands."""

    height: int
    block_hash: bytes
    state_root: bytes
    epoch: int
    entries: int


def restore(
    settings: NodeSettings,
    genesis: Genesis,
    snapshot: Path,
    on_piece: Callable[[int, int], None] = lambda _done, _of: None,
) -> Restored:
    """Make the snapshot's base block the head of a new node's database.

    The caller holds the folder's lock. Raises `SnapshotRefused` for a file that does not prove
    itself, `SnapshotImpossible` where the database holds more than block 0, the classes of
    node/database_errors.py and `OSError`; the chain is unchanged then.
    """
    key = folder.find_database_key(settings)
    # Tables that this version adds are made by opening it.
    folder.open_database(settings, genesis).close_now()
    path, unfinished = settings.get_database_path(), settings.data / f"{BASE_FILE}.new"
    raw = sqlcipher.connect(path, key, is_reader=False, is_alone=True)
    try:
        with naming_damage(path):
            raw.execute("begin immediate")
            _check_new(raw, path)
            _copy(snapshot, unfinished)
            with unfinished.open("rb") as file:
                restored = _write(raw, file, snapshot, genesis, on_piece)
            # Before the commit: a chain that begins with a snapshot always has it.
            unfinished.replace(settings.data / BASE_FILE)
            sync_folder(settings.data)
            raw.execute("commit")
            raw.execute("pragma wal_checkpoint(truncate)").fetchone()
            return restored
    finally:
        unfinished.unlink(missing_ok=True)
        raw.close()


def read_base(data: Path, genesis: Genesis, height: int) -> Base:
    """Return where a replay begins: block 0, or the kept snapshot's where the chain began with one.

    Raises `SnapshotImpossible` where it is not kept, `SnapshotRefused` where it is another.
    """
    if height == 0:
        return build_genesis_base(genesis)
    path = data / BASE_FILE
    try:
        with path.open("rb") as file:
            reader = SnapshotReader(file, genesis)
            found = reader.block.header.height
            if found != height:
                raise SnapshotRefused(f"{path} is of block {found}, the chain begins with {height}")
            return Base(reader.block, read_whole_state(reader))
    except FileNotFoundError:
        raise SnapshotImpossible(
            f"this chain begins with block {height}, and the snapshot that it began with is not at "
            f"{path}: put it back"
        ) from None
    except Rejected as rejected:
        raise SnapshotRefused(f"{path}: {rejected}") from None


def _check_new(raw: RawConnection, path: Path) -> None:
    head = block_rows.read_head(raw)
    if head is None:
        raise DatabaseDamaged(f"the database {path} holds no chain")
    jobs = raw.execute(f"select count(*) from {get_table(JobRow).name}").fetchone()[0]
    if head[0].height > 0 or jobs:
        raise SnapshotImpossible(
            f"{path} is at height {head[0].height} and holds {jobs} jobs: a snapshot is restored "
            "into a new node's folder alone"
        )


def _copy(source: Path, destination: Path) -> None:
    with source.open("rb") as original, destination.open("wb") as copy:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _write(
    raw: RawConnection,
    file: BinaryIO,
    snapshot: Path,
    genesis: Genesis,
    on_piece: Callable[[int, int], None],
) -> Restored:
    """Put the snapshot in the place of block 0 and its state, inside the transaction."""
    try:
        reader = SnapshotReader(file, genesis)
        for table in ("blocks", "outcomes", "successions"):
            raw.execute(f"delete from {table}")
        writer = StateWriter(raw)
        done = 0
        for piece in reader.iterate_pieces():
            writer.add(piece.items, piece.nodes)
            done += len(piece.items)
            on_piece(done, reader.entries)
    except Rejected as rejected:
        raise SnapshotRefused(f"{snapshot}: {rejected}") from None
    header = reader.block.header
    writer.add((), reader.top_nodes)
    writer.finish(header.height)
    block_rows.write_block(raw, reader.block)
    chain_base.write_successions(raw, reader.successions)
    chain_base.write_base_height(raw, header.height)
    # What came before holds none of this node's jobs.
    raw.execute(f"update {get_table(FollowedRow).name} set height = ?", (header.height,))
    return Restored(
        header.height, reader.block.hash, header.state_root, reader.epoch, reader.entries
    )
