"""The newest changes of the state, in memory and in a log until they reach their tables.

A block commits one row of the log with every entry that it changed. The tables follow in sorted
batches: random accounts would otherwise dirty, encrypt and authenticate a page each in every block,
where now many blocks share one visit to a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from ledger import codec, state_tree
from ledger.entries import Entry
from ledger.state import Changes
from ledger.state_tree import NodeKey
from node.sqlcipher import RawConnection
from node.tables import LEVEL_SHIFT

T = TypeVar("T")

Placed = tuple[int, Entry]
"""An entry and its leaf."""

SLICES: Final = 16
HEIGHT_MARK: Final = "state_height"
"""The first height whose changes are in the log and not in the tables."""
LEAVES_MARK: Final = "state_leaves"
"""How many leaves the state had before that height."""

_entries = msgspec.msgpack.Decoder(Entry)
_log = msgspec.msgpack.Decoder(list[tuple[int, bytes, bytes]])


@dataclass(slots=True)
class Chunk:
    """The newest version of each entry and node changed by the blocks below height `end`."""

    entries: dict[bytes, Placed] = field(default_factory=dict)
    nodes: dict[NodeKey, bytes] = field(default_factory=dict)
    end: int = 0
    leaves: int = 0
    """How many leaves the state has at `end`."""
    ordered: tuple[list[tuple[int, bytes]], list[NodeKey]] | None = None

    def order(self) -> tuple[list[tuple[int, bytes]], list[NodeKey]]:
        """Return the (leaf, key) pairs and the nodes' places, sorted as their tables are."""
        if self.ordered is None:
            pairs = sorted((leaf, key) for key, (leaf, _) in self.entries.items())
            self.ordered = pairs, sorted(self.nodes)
        return self.ordered


@dataclass(slots=True, frozen=True)
class Batch:
    """Some slices of a sealed chunk, to be written in one transaction."""

    chunk: Chunk
    first: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether the tables have the whole chunk with this batch."""
        return self.end == SLICES

    def write(self, raw: RawConnection) -> None:
        """Write the batch, inside the caller's transaction."""
        pairs, places = self.chunk.order()
        entries, nodes = self.chunk.entries, self.chunk.nodes
        write_entries(raw, ((leaf, key, entries[key][1]) for leaf, key in self._cut(pairs)))
        write_nodes(raw, ((place, nodes[place]) for place in self._cut(places)))
        if self.is_last:
            write_marks(raw, self.chunk.end, self.chunk.leaves)
            raw.execute("delete from state_log where height < ?", (self.chunk.end,))

    def _cut(self, items: list[T]) -> list[T]:
        return items[len(items) * self.first // SLICES : len(items) * self.end // SLICES]


class StateTail:
    """An active chunk that grows and at most one sealed chunk that is being written."""

    def __init__(self, chunk_entries: int) -> None:
        self._chunk_entries = chunk_entries
        self._active = Chunk()
        self._sealed: Chunk | None = None
        self._next_slice = 0

    def add(
        self, entries: dict[bytes, Placed], nodes: dict[NodeKey, bytes], end: int, leaves: int
    ) -> None:
        """Add what the block below `end` changed."""
        active = self._active
        active.entries.update(entries)
        active.nodes.update(nodes)
        active.end, active.leaves = end, leaves
        if self._sealed is None and len(active.entries) >= self._chunk_entries:
            self._sealed, self._active = active, Chunk()

    def find(self, key: bytes) -> Placed | None:
        """Return an entry that its table may not have yet."""
        placed = self._active.entries.get(key)
        return self._sealed.entries.get(key) if placed is None and self._sealed else placed

    def find_node(self, place: NodeKey) -> bytes | None:
        """Return a node that its table may not have yet."""
        node = self._active.nodes.get(place)
        return self._sealed.nodes.get(place) if node is None and self._sealed else node

    def collect(self, first: int) -> dict[int, tuple[bytes, Entry]]:
        """Return the (key, entry) of each leaf from `first` on that its table may not have yet."""
        return {
            leaf: (key, entry)
            for chunk in (self._sealed, self._active)
            if chunk is not None
            for key, (leaf, entry) in chunk.entries.items()
            if leaf >= first
        }

    def plan(self, arriving: int) -> Batch | None:
        """Return what to write beside `arriving` changes so that the tail stays bounded."""
        if self._sealed is None:
            return None
        count = 1 + arriving * SLICES // self._chunk_entries
        return Batch(self._sealed, self._next_slice, min(SLICES, self._next_slice + count))

    def on_written(self, batch: Batch) -> None:
        """Drop what a planned batch has made durable."""
        assert batch.chunk is self._sealed
        self._next_slice = batch.end
        if batch.is_last:
            self._sealed, self._next_slice = None, 0


def write_log(raw: RawConnection, height: int, changes: Changes, leaves: dict[bytes, int]) -> None:
    """Write the log row of a block: every entry that it changed."""
    rows = [(leaves[key], key, codec.encode(entry)) for key, entry in changes.entries.items()]
    raw.execute(
        "insert into state_log (height, changes) values (?, ?)", (height, codec.encode(rows))
    )


def recover(raw: RawConnection, tail: StateTail) -> tuple[int, bytes | None]:
    """Fill a new tail from the log.

    Returns the number of leaves, and the root that the state then has when the log says anything.
    """
    marks = dict(raw.execute("select name, number from marks").fetchall())
    base: int = marks.get(LEAVES_MARK, 0)
    newest: dict[bytes, tuple[int, bytes]] = {}
    end = 0
    for height, data in raw.execute(
        "select height, changes from state_log where height >= ? order by height",
        (marks.get(HEIGHT_MARK, 0),),
    ):
        newest.update((key, (leaf, value)) for leaf, key, value in _log.decode(data))
        end = height + 1
    if not newest:
        return base, None
    leaves = max(base, 1 + max(leaf for leaf, _ in newest.values()))
    hashes = [(leaf, state_tree.hash_leaf(key, value)) for key, (leaf, value) in newest.items()]
    # A batch cut short left nodes newer than the rest: every one of them is computed again here.
    root, nodes = state_tree.update_tree(
        lambda level, index: read_node(raw, level, index), base, leaves, hashes
    )
    entries = {key: (leaf, _entries.decode(value)) for key, (leaf, value) in newest.items()}
    tail.add(entries, nodes, end, leaves)
    return leaves, root


def read_node(raw: RawConnection, level: int, index: int) -> bytes | None:
    """Return a node from its table."""
    row = raw.execute(
        "select node from state_nodes where place = ?", (level << LEVEL_SHIFT | index,)
    ).fetchone()
    return row[0] if row else None


def write_entries(raw: RawConnection, rows: Iterator[tuple[int, bytes, Entry]]) -> None:
    """Write (leaf, key, entry) rows into their table."""
    raw.executemany(
        "insert into state_entries (leaf, key, value) values (?, ?, ?)"
        " on conflict (leaf) do update set value = excluded.value",
        ((leaf, key, codec.encode(entry)) for leaf, key, entry in rows),
    )


def write_nodes(raw: RawConnection, rows: Iterator[tuple[NodeKey, bytes]]) -> None:
    """Write (place, node) rows into their table."""
    raw.executemany(
        "insert into state_nodes (place, node) values (?, ?)"
        " on conflict (place) do update set node = excluded.node",
        ((level << LEVEL_SHIFT | index, node) for (level, index), node in rows),
    )


def write_marks(raw: RawConnection, height: int, leaves: int) -> None:
    """Say that the tables have the state below a height, with so many leaves."""
    raw.executemany(
        "insert or replace into marks (name, number) values (?, ?)",
        [(HEIGHT_MARK, height), (LEAVES_MARK, leaves)],
    )
