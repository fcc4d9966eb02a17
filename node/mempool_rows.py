"""The rows of waiting transactions: appended as they arrive, removed by the block that has them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from node.sqlcipher import RawConnection, get_raw


def insert_rows(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Append (sequence, canonical transaction) rows; a `Database.write` makes them durable."""
    get_raw(connection).executemany("insert into mempool (sequence, raw) values (?, ?)", rows)


def load_rows(connection: Connection) -> list[tuple[int, bytes]]:
    """Return every waiting transaction as (sequence, canonical bytes), in order of arrival."""
    rows = get_raw(connection).execute("select sequence, raw from mempool order by sequence")
    return list(rows)


def remove_rows(connection: Connection, sequences: Sequence[int]) -> None:
    """Remove transactions that were replaced, or that no block can take any more."""
    delete_rows(get_raw(connection), sequences)


def delete_rows(raw: RawConnection, sequences: Sequence[int]) -> None:
    """Remove the rows of these sequences, inside the caller's transaction."""
    raw.executemany(
        "delete from mempool where sequence = ?", [(sequence,) for sequence in sequences]
    )
