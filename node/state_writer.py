"""Writing a whole state into its tables at once: what a snapshot restores and a rollback rebuilds.

The entries come in pieces, in the order of their leaves, with the tree's nodes beside them, so a
state of any size passes through bounded memory.
"""

from collections.abc import Sequence
from typing import Final

from ledger.entries import Entry, Job, compute_due_time
from ledger.state_tree import NodeKey
from node import state_tail
from node.sorted_tail import compute_term
from node.sqlcipher import RawConnection
from node.stored_state import CHUNK_ENTRIES, KEY_KIND, write_due_jobs, write_keys

Item = tuple[bytes, Entry]
"""A state key and its entry."""

_TABLES: Final = ("state_entries", "state_nodes", "state_keys", "state_log", "due_jobs")


class StateWriter:
    """Replaces the tables' state, inside the caller's transaction and on its connection."""

    def __init__(self, raw: RawConnection) -> None:
        """Empty the tables."""
        self._raw = raw
        self._count = 0
        self._terms: list[tuple[int, int]] = []
        for table in _TABLES:
            raw.execute(f"delete from {table}")

    def add(self, items: Sequence[Item], nodes: dict[NodeKey, bytes]) -> None:
        """Write the entries at the next leaves, and nodes of the tree over them."""
        first = self._count
        self._count += len(items)
        state_tail.write_entries(
            self._raw, ((leaf, key, entry) for leaf, (key, entry) in enumerate(items, first))
        )
        state_tail.write_nodes(self._raw, iter(sorted(nodes.items())))
        write_due_jobs(
            self._raw,
            [
                (leaf, key[1:], compute_due_time(entry))
                for leaf, (key, entry) in enumerate(items, first)
                if isinstance(entry, Job)
            ],
        )
        self._terms += [
            (compute_term(KEY_KIND, key), leaf) for leaf, (key, _) in enumerate(items, first)
        ]
        if len(self._terms) >= CHUNK_ENTRIES:
            self._write_terms()

    def finish(self, height: int) -> int:
        """Say that the tables hold the state after the block at a height; return its entries."""
        self._write_terms()
        state_tail.write_marks(self._raw, height + 1, self._count)
        return self._count

    def _write_terms(self) -> None:
        # Sorted, so that each page of the table is visited once a batch.
        write_keys(self._raw, sorted(self._terms), self._count)
        self._terms.clear()
