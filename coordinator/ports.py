"""What the job API needs from the node it runs in: final chain state, durable storage, a way to
other coordinators.

The node implements these; so does the in-process chain that the tests run on. Nothing else of the
node is known here.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from ledger.blocks import Header
from ledger.entries import Miner
from ledger.outcomes import Outcome
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected
from ledger.state import StateView
from ledger.state_tree import StateProof
from ledger.transactions import Transaction

T = TypeVar("T")


class FinalBlock(msgspec.Struct, frozen=True):
    """A block that nothing can take back, with what it did."""

    header: Header
    hash: bytes
    transactions: tuple[Transaction, ...]
    transaction_ids: tuple[bytes, ...]
    outcomes: tuple[Outcome, ...]
    """First those of due jobs, then one for each transaction, in order."""
    certificate: bytes
    """The encoded finality proof."""


class Located(msgspec.Struct, frozen=True):
    """A transaction in a final block."""

    height: int
    index: int
    transaction: Transaction
    outcome: Outcome


class MempoolStatus(msgspec.Struct, frozen=True):
    """How much waits to enter a block."""

    transactions: int
    bytes: int


class ChainStatus(msgspec.Struct, frozen=True):
    """Where this node stands."""

    height: int
    view: int
    hash: bytes
    time_ms: int
    finality: str
    validators: int
    peers: int
    behind_by: int
    """Heights that this node knows to be final elsewhere and lacks."""
    mempool: MempoolStatus


class Chain(Protocol):
    """Final chain state and the way into the mempool. Called from the event loop's thread."""

    @property
    def chain_id(self) -> bytes: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def proof(self) -> ProofParameters: ...
    @property
    def is_dev(self) -> bool: ...

    def get_head(self) -> Header:
        """Return the header of the last final block."""

    def get_view(self) -> StateView:
        """Return the state after the last final block."""

    async def list_miners(self, limit: int) -> list[tuple[str, Miner]]:
        """Return the miners that registered last, exited ones included, newest first."""

    async def list_offer_ids(self, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the newest (leaf, id) pairs of offers below a leaf of the state."""

    def get_next_nonce(self, address: bytes) -> int:
        """Return the nonce after the account's last one, waiting transactions included."""

    async def submit(self, raw: Sequence[bytes]) -> list[bytes | Rejected]:
        """Return the id of each canonical transaction once it waits durably, or why it does not.

        One that waits already, or is final already, is answered by its id again.
        """

    def subscribe(self) -> AsyncIterator[FinalBlock]:
        """Return the final blocks from this call on; a slow reader misses some: `read_blocks`."""

    async def read_blocks(self, first: int, limit: int) -> list[FinalBlock]:
        """Return up to `limit` final blocks from height `first` on."""

    async def find_transaction(self, transaction_id: bytes) -> Located | None:
        """Return where a transaction became final."""

    async def prove_entry(self, key: bytes) -> tuple[bytes, StateProof, Header]:
        """Return an entry's canonical bytes and the proof that the head's state holds it."""

    def get_status(self) -> ChainStatus:
        """Return where this node stands."""


class Storage(Protocol):
    """The node's database: one writer, many readers. `work` runs in a thread of the database."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` read."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returned, once everything it wrote is durable."""


class Unreachable(Exception):
    """A coordinator gave no answer: nobody here is connected to it, or it was too slow."""


class Relay(Protocol):
    """The way to other coordinators: authenticated, and never to another than the one named."""

    async def ask(self, coordinator: bytes, data: bytes, timeout: float) -> bytes:
        """Return what the coordinator of this 20-byte address answers to at most 2 MiB.

        An answer has at most 8 MiB and comes within `timeout` seconds. Raises `Unreachable`.
        """
