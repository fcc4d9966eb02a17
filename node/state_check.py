"""Checking a stored state against its header, from the entries alone and piece by piece."""

from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from ledger import codec
from ledger.blocks import Header
from ledger.entries import Entry, Job, compute_due_time
from ledger.state_tree import NodeKey, count_levels, hash_leaf, join_levels, seal_root
from node import state_tail, stored_state
from node.database_errors import DatabaseDamaged
from node.snapshot_format import PIECE_ENTRIES, PIECE_LEVELS
from node.sqlcipher import RawConnection
from node.stored_state import StoredState
from node.verify_chain import ChainDamaged

_ALWAYS: Final = 2**64
"""A clock behind every deadline, and more jobs than there are."""
_entries = msgspec.msgpack.Decoder(Entry)


def check_state(raw: RawConnection, path: Path, state: StoredState, head: Header) -> str:
    """Check that the state is the head's, in every way in which it is read.

    Raises `ChainDamaged` where the entries are not the header's, `DatabaseDamaged` where the tables
    beside them are not the entries'.
    """
    checker = _StateCheck(raw, path, state)
    if checker.check_pieces() != head.state_root:
        raise ChainDamaged(f"the stored state is not that of block {head.height}")
    checker.check_tables(head)
    return f"{state.get_leaf_count()} entries under the root of block {head.height}"


class _StateCheck:
    def __init__(self, raw: RawConnection, path: Path, state: StoredState) -> None:
        self._raw = raw
        self._path = path
        self._state = state
        self._count = state.get_leaf_count()
        self._due: list[tuple[int, bytes]] = []
        self._differing: NodeKey | None = None

    def check_pieces(self) -> bytes:
        """Return the root that the entries have, and note a node that does not lead to it."""
        entries, levels = self._state.iterate_entries(), count_levels(self._count)
        below = min(PIECE_LEVELS, levels)
        hashes: list[bytes] = []
        while rows := list(islice(entries, PIECE_ENTRIES)):
            for leaf, key, value in rows:
                self._check_entry(leaf, key, value)
            leaves = [hash_leaf(key, value) for _, key, value in rows]
            found, nodes = join_levels(leaves, 0, rows[0][0], below)
            self._compare(nodes)
            hashes += found
        if not hashes:
            raise self._damage("the state is empty")
        top, nodes = join_levels(hashes, PIECE_LEVELS, 0, levels - below)
        self._compare(nodes)
        return seal_root(self._count, top[0])

    def check_tables(self, head: Header) -> None:
        """Compare nodes, deadlines and marks with entries that are the header's."""
        if self._differing is not None:
            level, index = self._differing
            raise self._damage(f"node {index} of level {level} of its tree differs")
        if self._state.get_due_jobs(_ALWAYS, _ALWAYS) != sorted(self._due):
            raise self._damage("the list of deadlines is not that of the live jobs")
        marks = dict(self._raw.execute("select name, number from marks").fetchall())
        keys = marks.get(stored_state.KEYS_MARK, 0)
        height, leaves = marks.get(state_tail.HEIGHT_MARK, 0), marks.get(state_tail.LEAVES_MARK, 0)
        if not (keys <= self._count and leaves <= self._count and height <= head.height + 1):
            raise self._damage("its marks are ahead of it")
        (found,) = self._raw.execute(
            "select count(*) from state_keys where leaf < ?", (keys,)
        ).fetchone()
        (largest,) = self._raw.execute(
            "select max(leaf) from (select leaf from state_entries union all"
            " select leaf from state_keys)"
        ).fetchone()
        if found != keys or largest >= self._count:
            raise self._damage("its tables hold entries that are not of the state")
        (logged,) = self._raw.execute(
            "select count(*) from state_log where height >= ?", (height,)
        ).fetchone()
        if logged != head.height + 1 - height:
            raise self._damage("blocks are missing in the log of the state")

    def _check_entry(self, leaf: int, key: bytes, value: bytes) -> None:
        entry = _entries.decode(value)
        if codec.encode(entry) != value:
            raise self._damage(f"entry {leaf} is not canonical")
        if self._state.get_leaf(key) != leaf or self._state.get(key) != entry:
            raise self._damage(f"entry {leaf} is not found by its key")
        if isinstance(entry, Job) and (due := compute_due_time(entry)) is not None:
            self._due.append((due, key[1:]))

    def _compare(self, nodes: dict[NodeKey, bytes]) -> None:
        for (level, index), node in nodes.items():
            if self._state.get_node(level, index) != node:
                # The entry or the node is wrong: the root of the entries tells which.
                self._differing = (level, index)

    def _damage(self, detail: str) -> DatabaseDamaged:
        return DatabaseDamaged(f"the database {self._path} is damaged: the state: {detail}")
