"""The state after the head, read from the database through bounded caches.

While a commit writes, its keys and nodes keep answering as of the old head; every other row is the
same before and after. So each read is of one whole state, without a long-lived snapshot that would
keep the write-ahead log from being emptied.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

import msgspec

from ledger.entries import Entry, Job, compute_due_time
from ledger.state import Changes
from ledger.state_tree import NodeKey
from node.generation_cache import GenerationCache
from node.sorted_tail import Batch, SortedTail, compute_term
from node.sqlcipher import RawConnection
from node.tables import LEVEL_SHIFT

CACHED_ENTRIES: Final = 65_536
CACHED_NODES: Final = 16_384
ENTRIES_PER_STEP: Final = 4_096
CACHE_KIB: Final = 16_384
"""Pages that the reading connection keeps decrypted."""
KEY_CHUNK_PAIRS: Final = 32_768
LEAVES_MARK: Final = "state_keys_leaves"
"""Every leaf below this number is in the table of keys."""

_KEY_KIND: Final = 0
_decoder = msgspec.msgpack.Decoder(Entry)

Placed = tuple[int, Entry]
"""An entry and its leaf."""


class StoredState:
    """A `ledger.state.StateView` over the database. Any thread may read; one at a time commits."""

    def __init__(self, connection: RawConnection, key_chunk_pairs: int = KEY_CHUNK_PAIRS) -> None:
        """Read the connection's head; it belongs to this object from here on."""
        self._connection = connection
        self._lock = threading.Lock()
        self._entries: GenerationCache[bytes, Placed | None] = GenerationCache(CACHED_ENTRIES)
        self._nodes: GenerationCache[NodeKey, bytes] = GenerationCache(CACHED_NODES)
        self._held_entries: dict[bytes, Placed | None] = {}
        self._held_nodes: dict[NodeKey, bytes | None] = {}
        self._tail = SortedTail(key_chunk_pairs)
        (count,) = connection.execute("select max(leaf) + 1 from state_entries").fetchone()
        self._leaf_count: int = count or 0
        marks = connection.execute("select number from marks where name = ?", (LEAVES_MARK,))
        mark = marks.fetchone()
        for leaf, key in connection.execute(
            "select leaf, key from state_entries where leaf >= ? order by leaf",
            (mark[0] if mark else 0,),
        ):
            self._tail.add([(compute_term(_KEY_KIND, key), leaf)], leaf + 1)
        self._due: list[tuple[int, bytes]] = sorted(
            connection.execute("select due, job from due_jobs").fetchall()
        )
        self._due_times = {job: due for due, job in self._due}

    def get(self, key: bytes) -> Entry | None:
        placed = self._get_placed(key)
        return placed[1] if placed else None

    def get_leaf(self, key: bytes) -> int | None:
        placed = self._get_placed(key)
        return placed[0] if placed else None

    def get_leaf_count(self) -> int:
        return self._leaf_count

    def get_node(self, level: int, index: int) -> bytes | None:
        place = (level, index)
        with self._lock:
            if place in self._held_nodes:
                return self._held_nodes[place]
            node = self._nodes.get(place)
            if node is None:
                row = self._connection.execute(
                    "select node from state_nodes where place = ?", (level << LEVEL_SHIFT | index,)
                ).fetchone()
                if row is None:
                    return None
                node = row[0]
                self._nodes.put(place, node)
            return node

    def get_due_jobs(self, clock: int, limit: int) -> list[tuple[int, bytes]]:
        end = bisect_left(self._due, (clock,))
        return self._due[: min(end, limit)]

    def iterate_entries(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield every entry as (leaf, key, canonical value), by leaf, while nothing is committed.

        For verification: whoever recomputes the root from these depends on no cache and no node.
        """
        first = 0
        while True:
            with self._lock:
                rows = self._connection.execute(
                    "select leaf, key, value from state_entries where leaf >= ?"
                    " order by leaf limit ?",
                    (first, ENTRIES_PER_STEP),
                ).fetchall()
            if not rows:
                return
            yield from rows
            first = rows[-1][0] + 1

    def hold(self, changes: Changes) -> Batch | None:
        """Keep the present answers for all that a commit is about to change.

        Returns the part of the key index to be written in the same transaction.
        """
        held = {key: self._get_placed(key) for key in changes.entries}
        nodes = {place: self.get_node(*place) for place in changes.nodes}
        with self._lock:
            self._held_entries, self._held_nodes = held, nodes
            return self._tail.plan(len(changes.new_keys))

    def release(self) -> None:
        """Answer from the database again: the commit did not happen."""
        with self._lock:
            self._held_entries, self._held_nodes = {}, {}

    def advance(self, changes: Changes, leaves: dict[bytes, int], batch: Batch | None) -> None:
        """Become the state after the commit that has just become durable."""
        with self._lock:
            for key, entry in changes.entries.items():
                self._entries.put(key, (leaves[key], entry))
                if isinstance(entry, Job):
                    self._move_due(key[1:], compute_due_time(entry))
            for place, node in changes.nodes.items():
                self._nodes.put(place, node)
            if batch is not None:
                self._tail.on_written(batch)
            self._leaf_count += len(changes.new_keys)
            self._tail.add(
                [(compute_term(_KEY_KIND, key), leaves[key]) for key in changes.new_keys],
                self._leaf_count,
            )
            self._held_entries, self._held_nodes = {}, {}

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _get_placed(self, key: bytes) -> Placed | None:
        with self._lock:
            if key in self._held_entries:
                return self._held_entries[key]
            if key in self._entries:
                return self._entries.get(key)
            placed = self._find(key)
            self._entries.put(key, placed)
            return placed

    def _find(self, key: bytes) -> Placed | None:
        term = compute_term(_KEY_KIND, key)
        for leaf in self._tail.find(term):
            row = self._connection.execute(
                "select key, value from state_entries where leaf = ?", (leaf,)
            ).fetchone()
            if row and row[0] == key:
                return leaf, _decoder.decode(row[1])
        for leaf, found, value in self._connection.execute(
            "select e.leaf, e.key, e.value from state_keys k"
            " join state_entries e on e.leaf = k.leaf where k.term = ?",
            (term,),
        ):
            if found == key:
                return leaf, _decoder.decode(value)
        return None

    def _move_due(self, job: bytes, due: int | None) -> None:
        before = self._due_times.pop(job, None)
        if before is not None:
            del self._due[bisect_left(self._due, (before, job))]
        if due is not None:
            self._due_times[job] = due
            insort(self._due, (due, job))


def write_keys(raw: RawConnection, batch: Batch) -> None:
    """Write a planned batch of the key index, inside the caller's transaction."""
    raw.executemany(
        "insert or ignore into state_keys (term, leaf) values (?, ?)", batch.sort_pairs()
    )
    if batch.is_last:
        raw.execute(
            "insert or replace into marks (name, number) values (?, ?)",
            (LEAVES_MARK, batch.chunk.mark),
        )
