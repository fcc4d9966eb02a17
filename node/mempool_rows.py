"""The rows of waiting transactions: one for each batch that was accepted together.

A row for each transaction would cost as much as the block that takes it; a batch's row goes when
the last of its transactions has gone.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from node.sqlcipher import RawConnection, get_raw

Entry = tuple[int, bytes]
"""A place in line and the canonical transaction."""

ENTRIES_PER_BATCH: Final = 1_000

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])


def insert_batch(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append a batch under its first place in line; a `Database.write` makes it durable."""
    get_raw(connection).execute(
        "insert into mempool (first, entries) values (?, ?)",
        (entries[0][0], _encoder.encode(entries)),
    )


def load_batches(connection: Connection) -> list[list[Entry]]:
    """Return every batch of which something may still wait, in order of arrival."""
    rows = get_raw(connection).execute("select entries from mempool order by first")
    return [_decoder.decode(entries) for (entries,) in rows]


def delete_batches(raw: RawConnection, firsts: Sequence[int]) -> None:
    """Remove batches, by their first place in line, inside the caller's transaction."""
    raw.executemany("delete from mempool where first = ?", [(first,) for first in firsts])


def count_waiting(raw: RawConnection) -> int:
    """Return how many transactions the batches hold, those included that no longer wait."""
    return sum(len(_decoder.decode(row[0])) for row in raw.execute("select entries from mempool"))


def insert_before(raw: RawConnection, transactions: Sequence[bytes]) -> None:
    """Let transactions wait before all others, inside the caller's transaction."""
    first = min(0, raw.execute("select coalesce(min(first), 0) from mempool").fetchone()[0])
    entries = list(enumerate(transactions, first - len(transactions)))
    raw.executemany(
        "insert into mempool (first, entries) values (?, ?)",
        [
            (entries[start][0], _encoder.encode(entries[start : start + ENTRIES_PER_BATCH]))
            for start in range(0, len(entries), ENTRIES_PER_BATCH)
        ],
    )
