"""The newest part of an index, in memory until it is written in sorted batches.

A look-up asks the tail first and the table then. A full tail is sealed and written slice by slice,
each a range of terms, in the commits of the blocks that follow: no block pays for a whole batch,
and each page of the table is touched once a batch instead of once a row.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

SLICES: Final = 16
_SLICE_SHIFT: Final = 60


def compute_term(kind: int, key: bytes) -> int:
    """Return the signed 64-bit number that an index knows a key by. Two keys may share one."""
    digest = blake2b(kind.to_bytes(1, "big") + key, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass(slots=True)
class Chunk:
    """Pairs of a term and its values in ascending order; `mark` says how far the chunk goes."""

    values: dict[int, list[int]] = field(default_factory=dict)
    pairs: int = 0
    mark: int = 0


@dataclass(slots=True, frozen=True)
class Batch:
    """Some slices of a sealed chunk, to be written in one transaction."""

    chunk: Chunk
    first: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether the chunk is in its table whole with this batch."""
        return self.end == SLICES

    def sort_pairs(self) -> list[tuple[int, int]]:
        """Return the batch's (term, value) pairs in order."""
        low, high = self.first - SLICES // 2, self.end - SLICES // 2
        terms = sorted(term for term in self.chunk.values if low <= term >> _SLICE_SHIFT < high)
        values = self.chunk.values
        return [(term, value) for term in terms for value in values[term]]


class SortedTail:
    """An active chunk that grows and at most one sealed chunk that is being written.

    One owner adds; a sealed chunk never changes, so the writer thread may read it.
    """

    def __init__(self, chunk_pairs: int) -> None:
        self._chunk_pairs = chunk_pairs
        self._active = Chunk()
        self._sealed: Chunk | None = None
        self._next_slice = 0

    def add(self, pairs: list[tuple[int, int]], mark: int) -> None:
        """Add pairs whose values are above all before; everything up to `mark` is then inside."""
        values = self._active.values
        for term, value in pairs:
            known = values.get(term)
            if known is None:
                values[term] = [value]
            else:
                known.append(value)
        self._active.pairs += len(pairs)
        self._active.mark = mark
        if self._sealed is None and self._active.pairs >= self._chunk_pairs:
            self._sealed, self._active = self._active, Chunk(mark=mark)

    def find(self, term: int) -> list[int]:
        """Return the values of a term that may not be in the table yet, ascending."""
        found = list(self._sealed.values.get(term, ())) if self._sealed else []
        found += self._active.values.get(term, ())
        return found

    def count_pairs(self) -> int:
        """Return how many pairs are in memory."""
        return self._active.pairs + (self._sealed.pairs if self._sealed else 0)

    def plan(self, arriving: int) -> Batch | None:
        """Return what to write beside `arriving` new pairs so that the tail stays bounded."""
        if self._sealed is None:
            return None
        count = 1 + arriving * SLICES // self._chunk_pairs
        return Batch(self._sealed, self._next_slice, min(SLICES, self._next_slice + count))

    def on_written(self, batch: Batch) -> None:
        """Drop what a planned batch has made durable."""
        assert batch.chunk is self._sealed
        self._next_slice = batch.end
        if batch.is_last:
            self._sealed, self._next_slice = None, 0
