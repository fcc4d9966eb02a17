"""Where a term occurs in the chain's outcomes: newest in memory, the rest in sorted segments.

A segment is written once, in the order of its key, so writing costs the same at any size of the
chain; a look-up asks each segment, newest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from node.sorted_tail import Batch, SortedTail
from node.sqlcipher import RawConnection
from node.tables import SLOT_BITS

SEGMENT_PAIRS: Final = 65_536
SEGMENTS_MARK: Final = "history_segments"
"""How many segments are whole."""
HEIGHT_MARK: Final = "history_height"
"""The first height that is in no whole segment."""


@dataclass(slots=True, frozen=True)
class Lookup:
    """What the index knew of a term at one moment; to be run in any reader thread."""

    term: int
    recent: list[int]
    segments: int

    def iterate(self, raw: RawConnection, before: int | None = None) -> Iterator[int]:
        """Yield the term's positions below `before`, from the newest to the oldest."""
        for segment in range(self.segments, -1, -1):
            yield from self.find_in(raw, segment, before)

    def find_in(self, raw: RawConnection, segment: int, before: int | None = None) -> Iterator[int]:
        """Yield what `iterate` does of one segment alone; the last, `segments`, is in memory.

        A segment's positions are all above those of the segment below it.
        """
        end = 2**63 - 1 if before is None else before
        if segment == self.segments:
            yield from (position for position in reversed(self.recent) if position < end)
            return
        for (position,) in raw.execute(
            "select position from history_index"
            " where segment = ? and term = ? and position < ? order by position desc",
            (segment, self.term, end),
        ):
            yield position


class HistoryIndex:
    """The tail of the index and how many segments are below it. One owner: the event loop."""

    def __init__(self, connection: RawConnection, segment_pairs: int = SEGMENT_PAIRS) -> None:
        marks = dict(connection.execute("select name, number from marks").fetchall())
        self.segments: int = marks.get(SEGMENTS_MARK, 0)
        self.first_height: int = marks.get(HEIGHT_MARK, 0)
        """The first height whose pairs the owner has to `add` again after a start."""
        self._tail = SortedTail(segment_pairs)

    def look_up(self, term: int) -> Lookup:
        """Return what is known of a term now."""
        return Lookup(term, self._tail.find(term), self.segments)

    def add(self, pairs: list[tuple[int, int]], height: int) -> None:
        """Add the pairs of the block at `height`."""
        self._tail.add(pairs, height + 1)

    def plan(self, arriving: int) -> Batch | None:
        """Return what to write in the commit of a block with about `arriving` pairs."""
        return self._tail.plan(arriving)

    def write(self, raw: RawConnection, batch: Batch) -> None:
        """Write a planned batch; in the writer thread."""
        segment = self.segments
        raw.executemany(
            "insert into history_index (segment, term, position) values (?, ?, ?)",
            ((segment, term, position) for term, position in batch.sort_pairs()),
        )
        if batch.is_last:
            raw.executemany(
                "insert or replace into marks (name, number) values (?, ?)",
                [(SEGMENTS_MARK, segment + 1), (HEIGHT_MARK, batch.chunk.mark)],
            )

    def on_written(self, batch: Batch) -> None:
        """Drop from memory what a planned batch has made durable."""
        self._tail.on_written(batch)
        if batch.is_last:
            self.segments += 1


def drop_unfinished(raw: RawConnection) -> None:
    """Remove what a process that ended early wrote of a segment; its pairs are added again."""
    row = raw.execute("select number from marks where name = ?", (SEGMENTS_MARK,)).fetchone()
    raw.execute("delete from history_index where segment >= ?", (row[0] if row else 0,))


def drop_above(raw: RawConnection, height: int) -> None:
    """Remove every pair above a height, inside the caller's transaction."""
    drop_unfinished(raw)
    raw.execute("delete from history_index where position >= ?", ((height + 1) << SLOT_BITS,))
    raw.execute(
        "update marks set number = min(number, ?) where name = ?", (height + 1, HEIGHT_MARK)
    )
