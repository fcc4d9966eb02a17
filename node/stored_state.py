"""The state after the head: bounded caches over the newest changes over the tables.

The tables only ever take what is in the tail, and the tail moves when a commit has become durable.
So each read is of one whole state while a commit writes, without a long-lived snapshot that would
keep the write-ahead log from being emptied.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger import codec
from ledger.entries import Entry, Job, compute_due_time
from ledger.state import Changes
from ledger.state_tree import NodeKey
from node import sorted_tail, state_tail
from node.database_errors import DatabaseDamaged
from node.generation_cache import GenerationCache
from node.sorted_tail import SortedTail, compute_term
from node.sqlcipher import RawConnection
from node.state_tail import Placed, StateTail

CACHED_ENTRIES: Final = 65_536
CACHED_NODES: Final = 16_384
ENTRIES_PER_STEP: Final = 4_096
CACHE_KIB: Final = 16_384
"""Pages that the reading connection keeps decrypted."""
CHUNK_ENTRIES: Final = 32_768
"""Changed, or new, entries that reach their table together."""
KEYS_MARK: Final = "state_keys"
"""Every leaf below this number is in the table of keys."""

KEY_KIND: Final = 0
"""The kind of a state key among the terms (`compute_term`)."""
_entries = msgspec.msgpack.Decoder(Entry)


@dataclass(slots=True, frozen=True)
class StateCommit:
    """What a block's commit writes of the state, beside bringing the tables forward."""

    height: int
    changes: Changes
    leaves: dict[bytes, int]
    state_batch: state_tail.Batch | None
    key_batch: sorted_tail.Batch | None

    def write(self, raw: RawConnection) -> None:
        """Write it, inside the caller's transaction and in the writer thread."""
        state_tail.write_log(raw, self.height, self.changes, self.leaves)
        write_due_jobs(raw, _list_due_jobs(self.changes, self.leaves))
        if self.state_batch is not None:
            self.state_batch.write(raw)
        if self.key_batch is not None:
            batch = self.key_batch
            write_keys(raw, batch.sort_pairs(), batch.chunk.mark if batch.is_last else None)


class StoredState:
    """A `ledger.state.StateView` over the database. Any thread may read; one at a time commits."""

    def __init__(self, connection: RawConnection, chunk_entries: int = CHUNK_ENTRIES) -> None:
        """Read the connection's head; it belongs to this object from here on."""
        self._connection = connection
        self._lock = threading.Lock()
        self._cached: GenerationCache[bytes, Placed | None] = GenerationCache(CACHED_ENTRIES)
        self._nodes: GenerationCache[NodeKey, bytes] = GenerationCache(CACHED_NODES)
        self._tail = StateTail(chunk_entries)
        self._leaf_count, self.recovered_root = state_tail.recover(connection, self._tail)
        self._keys = SortedTail(chunk_entries)
        row = connection.execute("select number from marks where name = ?", (KEYS_MARK,)).fetchone()
        for leaf, key, _ in self.iterate_entries(row[0] if row else 0):
            self._keys.add([(compute_term(KEY_KIND, key), leaf)], leaf + 1)
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
            node = self._nodes.get(place) or self._tail.find_node(place)
            if node is None:
                node = state_tail.read_node(self._connection, level, index)
                if node is not None:
                    self._nodes.put(place, node)
            return node

    def get_due_jobs(self, clock: int, limit: int) -> list[tuple[int, bytes]]:
        end = bisect_left(self._due, (clock,))
        return self._due[: min(end, limit)]

    def iterate_entries(self, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield every entry as (leaf, key, canonical value), by leaf, while nothing is committed.

        For verification: whoever recomputes the root from these depends on no cache and no node.
        Raises `DatabaseDamaged`.
        """
        newest = self._tail.collect(first)
        while first < self._leaf_count:
            end = min(first + ENTRIES_PER_STEP, self._leaf_count)
            with self._lock:
                rows = self._connection.execute(
                    "select leaf, key, value from state_entries where leaf >= ? and leaf < ?",
                    (first, end),
                ).fetchall()
            step = {leaf: (leaf, key, value) for leaf, key, value in rows}
            for leaf in range(first, end):
                if leaf in newest:
                    key, entry = newest[leaf]
                    step[leaf] = (leaf, key, codec.encode(entry))
                if leaf not in step:
                    raise DatabaseDamaged(f"entry {leaf} of the state is missing")
                yield step[leaf]
            first = end

    def plan(self, height: int, changes: Changes) -> StateCommit:
        """Return what the commit of the block at a height has to write."""
        leaves = {}
        for key in changes.entries:
            leaf = changes.get_leaf(key)
            assert leaf is not None
            leaves[key] = leaf
        return StateCommit(
            height,
            changes,
            leaves,
            self._tail.plan(len(changes.entries)),
            self._keys.plan(len(changes.new_keys)),
        )

    def advance(self, commit: StateCommit) -> None:
        """Become the state after a commit that has just become durable."""
        changes, leaves = commit.changes, commit.leaves
        with self._lock:
            if commit.state_batch is not None:
                self._tail.on_written(commit.state_batch)
            if commit.key_batch is not None:
                self._keys.on_written(commit.key_batch)
            placed = {key: (leaves[key], entry) for key, entry in changes.entries.items()}
            self._leaf_count += len(changes.new_keys)
            self._tail.add(placed, changes.nodes, commit.height + 1, self._leaf_count)
            self._keys.add(
                [(compute_term(KEY_KIND, key), leaves[key]) for key in changes.new_keys],
                self._leaf_count,
            )
            for key, item in placed.items():
                self._cached.put(key, item)
                if isinstance(item[1], Job):
                    self._move_due(key[1:], compute_due_time(item[1]))
            for place, node in changes.nodes.items():
                self._nodes.put(place, node)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _get_placed(self, key: bytes) -> Placed | None:
        with self._lock:
            placed = self._cached.get(key)
            if placed is None and key not in self._cached:
                placed = self._tail.find(key) or self._find(key)
                self._cached.put(key, placed)
            return placed

    def _find(self, key: bytes) -> Placed | None:
        term = compute_term(KEY_KIND, key)
        for leaf in self._keys.find(term):
            row = self._connection.execute(
                "select key, value from state_entries where leaf = ?", (leaf,)
            ).fetchone()
            if row and row[0] == key:
                return leaf, _entries.decode(row[1])
        for leaf, found, value in self._connection.execute(
            "select e.leaf, e.key, e.value from state_keys k"
            " join state_entries e on e.leaf = k.leaf where k.term = ?",
            (term,),
        ):
            if found == key:
                return leaf, _entries.decode(value)
        return None

    def _move_due(self, job: bytes, due: int | None) -> None:
        before = self._due_times.pop(job, None)
        if before is not None:
            del self._due[bisect_left(self._due, (before, job))]
        if due is not None:
            self._due_times[job] = due
            insort(self._due, (due, job))


def initialise(raw: RawConnection, changes: Changes) -> None:
    """Write the state under block 0 into empty tables."""
    state_tail.write_entries(
        raw, ((leaf, key, changes.entries[key]) for leaf, key in enumerate(changes.new_keys))
    )
    state_tail.write_nodes(raw, iter(sorted(changes.nodes.items())))
    state_tail.write_marks(raw, 1, len(changes.new_keys))
    leaves = {key: leaf for leaf, key in enumerate(changes.new_keys)}
    write_due_jobs(raw, _list_due_jobs(changes, leaves))
    terms = [(compute_term(KEY_KIND, key), leaf) for leaf, key in enumerate(changes.new_keys)]
    write_keys(raw, sorted(terms), len(terms))


def write_due_jobs(raw: RawConnection, jobs: list[tuple[int, bytes, int | None]]) -> None:
    """Write when the stage of each (leaf, job) is over; None takes the job off the list."""
    raw.executemany(
        "insert or replace into due_jobs (leaf, job, due) values (?, ?, ?)",
        [job for job in jobs if job[2] is not None],
    )
    raw.executemany(
        "delete from due_jobs where leaf = ?", [(leaf,) for leaf, _, due in jobs if due is None]
    )


def write_keys(raw: RawConnection, pairs: list[tuple[int, int]], mark: int | None) -> None:
    """Write sorted (term, leaf) pairs; every leaf below `mark` is then in the table."""
    raw.executemany("insert or ignore into state_keys (term, leaf) values (?, ?)", pairs)
    if mark is not None:
        raw.execute("insert or replace into marks (name, number) values (?, ?)", (KEYS_MARK, mark))


def _list_due_jobs(
    changes: Changes, leaves: dict[bytes, int]
) -> list[tuple[int, bytes, int | None]]:
    return [
        (leaves[key], key[1:], compute_due_time(entry))
        for key, entry in changes.entries.items()
        if isinstance(entry, Job)
    ]
