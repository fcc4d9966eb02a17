"""How a block is written to and read from its rows."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from coordinator.ports import FinalBlock, Located
from ledger import codec
from ledger.blocks import Header
from ledger.outcomes import Outcome
from ledger.transactions import Transaction
from node.sqlcipher import RawConnection
from node.tables import SLOT_BITS

MAX_BLOCKS_PER_READ: Final = 256
SIGN_SEQUENCE_MARK: Final = "sign_sequence"

_headers = msgspec.msgpack.Decoder(Header)
_outcomes = msgspec.msgpack.Decoder(Outcome)
_transactions = msgspec.msgpack.Decoder(Transaction)


def write_block(raw: RawConnection, block: FinalBlock) -> None:
    """Write a block's header, proof, transactions and outcomes."""
    height = block.header.height
    due_count = len(block.outcomes) - len(block.transactions)
    assert due_count >= 0
    raw.execute(
        "insert into blocks (height, hash, header, certificate, due_count) values (?, ?, ?, ?, ?)",
        (height, block.hash, codec.encode(block.header), block.certificate, due_count),
    )
    bodies = [None] * due_count + [codec.encode(item) for item in block.transactions]
    base = height << SLOT_BITS
    raw.executemany(
        'insert into outcomes (position, "transaction", outcome) values (?, ?, ?)',
        [
            (base + slot, body, codec.encode(outcome))
            for slot, (body, outcome) in enumerate(zip(bodies, block.outcomes, strict=True))
        ],
    )


def read_blocks(raw: RawConnection, first: int, limit: int) -> list[FinalBlock]:
    """Return up to `limit` blocks from a height on, never more than `MAX_BLOCKS_PER_READ`."""
    last = first + min(limit, MAX_BLOCKS_PER_READ) - 1
    return [
        _read_block(raw, row)
        for row in raw.execute(
            "select height, hash, header, certificate from blocks"
            " where height between ? and ? order by height",
            (first, last),
        ).fetchall()
    ]


class Leaves(NamedTuple):
    """A block as it is stored, for proofs over its canonical bytes."""

    height: int
    header: bytes
    certificate: bytes
    transactions: list[bytes]
    outcomes: list[bytes]


def read_leaves(raw: RawConnection, height: int) -> Leaves:
    """Return the block at a height that is here, decoding nothing of it."""
    header, certificate = raw.execute(
        "select header, certificate from blocks where height = ?", (height,)
    ).fetchone()
    rows = raw.execute(
        'select "transaction", outcome from outcomes'
        " where position >= ? and position < ? order by position",
        (height << SLOT_BITS, (height + 1) << SLOT_BITS),
    ).fetchall()
    bodies = [body for body, _ in rows if body is not None]
    return Leaves(height, header, certificate, bodies, [outcome for _, outcome in rows])


def read_head(raw: RawConnection) -> tuple[Header, bytes] | None:
    """Return the newest block's header and hash."""
    row = raw.execute("select header, hash from blocks order by height desc limit 1").fetchone()
    return (_headers.decode(row[0]), row[1]) if row else None


def write_sign_sequence(raw: RawConnection, sequence: int) -> None:
    """Keep how many signatures of the node's key lie behind this block (rule C11)."""
    raw.execute(
        "insert or replace into marks (name, number) values (?, ?)", (SIGN_SEQUENCE_MARK, sequence)
    )


def read_sign_sequence(raw: RawConnection) -> int:
    """Return what `write_sign_sequence` kept last, 0 before the first time."""
    row = raw.execute("select number from marks where name = ?", (SIGN_SEQUENCE_MARK,)).fetchone()
    return int(row[0]) if row else 0


def read_place(raw: RawConnection, height: int) -> tuple[bytes, int]:
    """Return the hash and the header time of the block at a height that an index names."""
    row = raw.execute("select hash, header from blocks where height = ?", (height,)).fetchone()
    return row[0], _headers.decode(row[1]).time


def read_located(raw: RawConnection, position: int) -> Located | None:
    """Return the transaction at a position; None where a due job was processed."""
    row = raw.execute(
        'select "transaction", outcome, due_count from outcomes'
        " join blocks on height = position >> ? where position = ?",
        (SLOT_BITS, position),
    ).fetchone()
    if row is None or row[0] is None:
        return None
    slot = position & ((1 << SLOT_BITS) - 1)
    return Located(
        height=position >> SLOT_BITS,
        index=slot - row[2],
        transaction=_transactions.decode(row[0]),
        outcome=_outcomes.decode(row[1]),
    )


def read_outcome(raw: RawConnection, position: int) -> Outcome:
    """Return the outcome at a position that an index names."""
    row = raw.execute("select outcome from outcomes where position = ?", (position,)).fetchone()
    return _outcomes.decode(row[0])


def iterate_transaction_positions(raw: RawConnection, before: int | None) -> Iterator[int]:
    """Yield the positions of transactions below `before`, from the newest to the oldest."""
    for (position,) in raw.execute(
        'select position from outcomes where position < ? and "transaction" is not null'
        " order by position desc",
        (2**63 - 1 if before is None else before,),
    ):
        yield position


def iterate_bodies(raw: RawConnection, first: int) -> Iterator[bytes]:
    """Yield every transaction from a height on as it is stored, in the order of the chain."""
    for (body,) in raw.execute(
        'select "transaction" from outcomes where position >= ? and "transaction" is not null'
        " order by position",
        (first << SLOT_BITS,),
    ):
        yield body


def drop_above(raw: RawConnection, height: int) -> int:
    """Remove every block above a height, inside the caller's transaction; return how many."""
    raw.execute("delete from outcomes where position >= ?", ((height + 1) << SLOT_BITS,))
    return int(raw.execute("delete from blocks where height > ?", (height,)).rowcount)


def _read_block(raw: RawConnection, row: Sequence[Any]) -> FinalBlock:
    height, block_hash, header, certificate = row
    bodies, outcomes = [], []
    for body, outcome in raw.execute(
        'select "transaction", outcome from outcomes'
        " where position >= ? and position < ? order by position",
        (height << SLOT_BITS, (height + 1) << SLOT_BITS),
    ):
        outcomes.append(_outcomes.decode(outcome))
        if body is not None:
            bodies.append(_transactions.decode(body))
    due_count = len(outcomes) - len(bodies)
    return FinalBlock(
        header=_headers.decode(header),
        hash=block_hash,
        transactions=tuple(bodies),
        transaction_ids=tuple(outcome.subject for outcome in outcomes[due_count:]),
        outcomes=tuple(outcomes),
        certificate=certificate,
    )
