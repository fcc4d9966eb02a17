"""The rows of waiting transactions: one for each batch that was accepted together.

A row for each transaction would cost as much as the block that takes it; a batch's row goes when
the last of its transactions has gone.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from node.sqlcipher import RawConnection, get_raw

Entry = tuple[int, bytes]
"""A place in line and the canonical transaction."""

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
