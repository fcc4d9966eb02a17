"""Making a snapshot of a store, also while the node runs: one moment, whole or not there.

It holds the chain's public state and what proves it, and nothing of the node's own: no key, no
job's content, no waiting transaction.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from consensus.messages import decode_finality
from ledger import codec
from ledger.blocks import Block, Header
from ledger.entries import Entry
from ledger.state import get_authorities
from ledger.state_tree import count_levels, hash_leaf, hash_node, join_levels, seal_root
from node import block_rows, chain_base, sqlcipher
from node.chain_store import naming_damage
from node.database_errors import DatabaseDamaged, WrongChain
from node.exit_codes import ExitCode, OperatorError
from node.new_file import new_file
from node.snapshot_format import (
    HASHES_PER_FRAME,
    MAGIC,
    PIECE_ENTRIES,
    PIECE_LEVELS,
    BaseBlockFrame,
    SnapshotHead,
    StateItem,
    StatePiece,
    count_pieces,
    write_frame,
)
from node.sqlcipher import RawConnection
from node.stored_state import CACHE_KIB, StoredState

_entries = msgspec.msgpack.Decoder(Entry)

OnPiece = Callable[[int, int], None]
"""Hears how many entries are done, of how many."""


class SnapshotImpossible(OperatorError):
    """There is nothing that a snapshot could be made of, or nothing that it could go to."""

    exit_code = ExitCode.CONFIGURATION


class Created(NamedTuple):
    """What a snapshot holds. `entries` of the state, `size` of the file in bytes."""

    height: int
    block_hash: bytes
    state_root: bytes
    epoch: int
    entries: int
    size: int


def create(
    path: Path,
    key: bytes | None,
    chain_id: bytes,
    destination: Path,
    *,
    is_dev: bool = False,
    on_piece: OnPiece = lambda _done, _of: None,
) -> Created:
    """Write a snapshot of the database's head to a new file.

    Readers and writers go on meanwhile. Raises `SnapshotImpossible` at height 0, `DatabaseExists`
    rather than overwrite, `DatabaseDamaged` where the stored state is not its header's, the other
    classes of node/database_errors.py and `OSError`.
    """
    sqlcipher.check_bundled_engine()
    sqlcipher.check_files(path, key, is_dev=is_dev)
    raw = sqlcipher.connect(path, key, is_reader=True, cache_kib=CACHE_KIB)
    try:
        with naming_damage(path), new_file(destination) as partial, partial.open("wb") as file:
            # One moment of the database until the connection is closed.
            raw.execute("begin")
            return _Writer(raw, chain_id, path, file, on_piece).write()
    finally:
        raw.close()


class _Writer:
    """Writes one snapshot from a connection that sees one moment of the database."""

    def __init__(
        self,
        raw: RawConnection,
        chain_id: bytes,
        path: Path,
        file: BinaryIO,
        on_piece: OnPiece,
    ) -> None:
        self._raw = raw
        self._path = path
        self._file = file
        self._on_piece = on_piece
        found = block_rows.read_head(raw)
        if found is None:
            raise DatabaseDamaged(f"the database {path} holds no chain")
        self._header: Header = found[0]
        self._hash = found[1]
        if self._header.chain_id != chain_id:
            raise WrongChain(f"{path} holds the chain {self._header.chain_id.hex()}")
        if self._header.height == 0:
            raise SnapshotImpossible("the chain has no block yet: block 0 follows from genesis")
        self._state = StoredState(raw)
        self._entries = self._state.get_leaf_count()

    def write(self) -> Created:
        """Write the whole file."""
        epoch = get_authorities(self._state).current.epoch
        self._file.write(MAGIC)
        self._write(SnapshotHead(self._header.chain_id, self._header.height, epoch, self._entries))
        for each in chain_base.read_successions(self._raw):
            self._write(each)
        self._write_base_block()
        hashes = self._write_hashes()
        self._write_pieces(hashes)
        self._file.flush()
        return Created(
            self._header.height,
            self._hash,
            self._header.state_root,
            epoch,
            self._entries,
            self._file.tell(),
        )

    def _write_base_block(self) -> None:
        (block,) = block_rows.read_blocks(self._raw, self._header.height, 1)
        self._write(
            BaseBlockFrame(
                Block(block.header, block.transactions),
                block.outcomes,
                decode_finality(block.certificate),
            )
        )

    def _write_hashes(self) -> list[bytes]:
        """Write the hash of each piece, from the tree's nodes; together they make the root."""
        levels = count_levels(self._entries)
        below = min(PIECE_LEVELS, levels)
        hashes = [
            hash_node(self._read_node(below - 1, n)) for n in range(count_pieces(self._entries))
        ]
        top, _ = join_levels(hashes, PIECE_LEVELS, 0, levels - below)
        if seal_root(self._entries, top[0]) != self._header.state_root:
            raise self._damage("the tree's nodes do not lead to the header's state root")
        for start in range(0, len(hashes), HASHES_PER_FRAME):
            write_frame(self._file, b"".join(hashes[start : start + HASHES_PER_FRAME]))
        return hashes

    def _write_pieces(self, hashes: list[bytes]) -> None:
        entries = self._state.iterate_entries()
        levels = min(PIECE_LEVELS, count_levels(self._entries))
        for number, expected in enumerate(hashes):
            rows = list(islice(entries, PIECE_ENTRIES))
            leaves = [hash_leaf(key, value) for _, key, value in rows]
            found, _ = join_levels(leaves, 0, number * PIECE_ENTRIES, levels)
            if found != [expected]:
                raise self._damage(f"the entries from number {rows[0][0]} on are not the tree's")
            items = (StateItem(key, _entries.decode(value)) for _, key, value in rows)
            self._write(StatePiece(tuple(items)))
            self._on_piece(rows[-1][0] + 1, self._entries)

    def _read_node(self, level: int, index: int) -> bytes:
        node = self._state.get_node(level, index)
        if node is None:
            raise self._damage(f"node {index} of level {level} of the state tree is missing")
        return node

    def _write(self, record: object) -> None:
        write_frame(self._file, codec.encode(record))

    def _damage(self, detail: str) -> DatabaseDamaged:
        return DatabaseDamaged(f"the database {self._path} is damaged: {detail}")
