"""The chain's tables; docs/decisions/store-layout.md says why they look like this.

Every row that a block commit writes has an integer key that grows, or is found by one: a random key
would dirty, encrypt and authenticate a page for each row.
"""

from typing import Final

from sqlalchemy import Integer, LargeBinary, MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

SLOT_BITS: Final = 20
"""A position is height << 20 | slot; the slot numbers the outcomes of one block."""
LEVEL_SHIFT: Final = 56
"""A tree node's place is level << 56 | index."""


class ChainTable(SQLModel, registry=registry(metadata=MetaData())):
    """The tables of the chain, apart from any other package's."""


class BlockRow(ChainTable, table=True):
    """A final block: header, finality proof, and how many outcomes of each sort it has."""

    __tablename__ = "blocks"

    height: int = Field(primary_key=True, sa_type=Integer)
    hash: bytes = Field(sa_type=LargeBinary)
    header: bytes = Field(sa_type=LargeBinary)
    certificate: bytes = Field(sa_type=LargeBinary)
    due_count: int
    """Outcomes of due jobs; they take the first slots, the transactions' follow."""


class OutcomeRow(ChainTable, table=True):
    """An outcome, and the transaction that it is of; None for a due job's."""

    __tablename__ = "outcomes"

    position: int = Field(primary_key=True, sa_type=Integer)
    transaction: bytes | None = Field(default=None, sa_type=LargeBinary)
    outcome: bytes = Field(sa_type=LargeBinary)


class EntryRow(ChainTable, table=True):
    """An entry of the state, at its leaf of the state tree."""

    __tablename__ = "state_entries"

    leaf: int = Field(primary_key=True, sa_type=Integer)
    key: bytes = Field(sa_type=LargeBinary)
    value: bytes = Field(sa_type=LargeBinary)


class StateLogRow(ChainTable, table=True):
    """Every entry that a block changed, until the tables of the state have them."""

    __tablename__ = "state_log"

    height: int = Field(primary_key=True, sa_type=Integer)
    changes: bytes = Field(sa_type=LargeBinary)


class NodeRow(ChainTable, table=True):
    """A node of the state tree: the hashes of up to sixteen children."""

    __tablename__ = "state_nodes"

    place: int = Field(primary_key=True, sa_type=Integer)
    node: bytes = Field(sa_type=LargeBinary)


class StateKeyRow(ChainTable, table=True):
    """Which leaves a state key may be at: filled in sorted batches behind the head."""

    __tablename__ = "state_keys"
    __table_args__ = {"sqlite_with_rowid": False}

    term: int = Field(primary_key=True, sa_type=Integer)
    """First eight bytes of the key's hash."""
    leaf: int = Field(primary_key=True, sa_type=Integer)


class DueJobRow(ChainTable, table=True):
    """A live job, by its leaf, and when its stage is over (working-clock milliseconds)."""

    __tablename__ = "due_jobs"

    leaf: int = Field(primary_key=True, sa_type=Integer)
    job: bytes = Field(sa_type=LargeBinary)
    due: int


class HistoryRow(ChainTable, table=True):
    """Where a term occurs in the outcomes: filled in sorted segments behind the head."""

    __tablename__ = "history_index"
    __table_args__ = {"sqlite_with_rowid": False}

    segment: int = Field(primary_key=True, sa_type=Integer)
    term: int = Field(primary_key=True, sa_type=Integer)
    position: int = Field(primary_key=True, sa_type=Integer)


class MempoolRow(ChainTable, table=True):
    """Transactions that were accepted together and wait to enter a block."""

    __tablename__ = "mempool"

    first: int = Field(primary_key=True, sa_type=Integer)
    """Place in line of the first of them."""
    entries: bytes = Field(sa_type=LargeBinary)


class SuccessionRow(ChainTable, table=True):
    """How an authority set came into force: the block that closed the epoch before it."""

    __tablename__ = "successions"

    epoch: int = Field(primary_key=True, sa_type=Integer)
    """The number of the set."""
    header: bytes = Field(sa_type=LargeBinary)
    certificate: bytes = Field(sa_type=LargeBinary)
    following: bytes = Field(sa_type=LargeBinary)
    """The set itself."""


class MarkRow(ChainTable, table=True):
    """A number that the store keeps of itself, such as how far an index goes."""

    __tablename__ = "marks"

    name: str = Field(primary_key=True)
    number: int


CHAIN_TABLES: Final = ChainTable.metadata
