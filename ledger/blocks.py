"""What a block is: header, transactions and their roots (rules B1 to B5)."""

from typing import Annotated, Final

from msgspec import Meta

from ledger import codec, crypto, merkle
from ledger.transactions import MAX_TRANSACTION_BYTES, Transaction
from ledger.types import Address, Counter, Hash, PublicKey, Record, Time

BLOCK_VERSION: Final = 1
MAX_AUTHORITIES: Final = 100
MAX_BLOCK_TRANSACTIONS: Final = 4_096
MAX_HEADER_BYTES: Final = 512
MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
MAX_BODY_BYTES: Final = MAX_BLOCK_BYTES - MAX_HEADER_BYTES - 8
"""The transactions' bytes; beside them a block holds its header and two array lengths."""


class Header(Record, frozen=True):
    """What a certificate signs for: the block's place, body, outcomes and state after it."""

    version: Annotated[int, Meta(ge=BLOCK_VERSION, le=BLOCK_VERSION)]
    chain_id: Hash
    epoch: Counter
    """Number of the authority set that may certify this block."""
    height: Counter
    view: Counter
    parent_view: Counter
    time: Time
    """Milliseconds since the Unix epoch; later than the parent's."""
    parent: Hash
    proposer: PublicKey
    transactions_root: Hash
    receipts_root: Hash
    """Root over the outcomes of the due deadlines and of the transactions, in order."""
    state_root: Hash
    """Root of the state after this block."""
    authorities: Hash
    """Hash of the authority set of this block."""
    next_authorities: Hash
    """Hash of the authority set of the next block."""


class Block(Record, frozen=True):
    """A header and the transactions that it commits to."""

    header: Header
    transactions: Annotated[tuple[Transaction, ...], Meta(max_length=MAX_BLOCK_TRANSACTIONS)]


class Authority(Record, frozen=True):
    """One member of an authority set: its consensus key and the account that it is paid to."""

    key: PublicKey
    account: Address


class AuthoritySet(Record, frozen=True):
    """The authorities of one epoch, in the order that proposers take turns."""

    epoch: Counter
    members: Annotated[tuple[Authority, ...], Meta(min_length=1, max_length=MAX_AUTHORITIES)]


def compute_header_hash(header: Header) -> bytes:
    """Return the hash of a block: the tagged hash of its header (rule B2)."""
    return crypto.hash_tagged(crypto.TAG_HEADER, codec.encode(header))


def compute_authorities_hash(authorities: AuthoritySet) -> bytes:
    """Return the hash by which headers name an authority set."""
    return crypto.hash_tagged(crypto.TAG_AUTHORITIES, codec.encode(authorities))


def find_authority(authorities: AuthoritySet, key: bytes) -> Authority | None:
    """Return the member of a set with a consensus key."""
    return next((member for member in authorities.members if member.key == key), None)


def compute_transactions_root(transactions: tuple[Transaction, ...]) -> bytes:
    """Return the Merkle root over the canonical bytes of the transactions, signatures included."""
    return merkle.compute_root([codec.encode(transaction) for transaction in transactions])


def decode_block(data: bytes) -> Block:
    """Return the block that `data` encodes canonically. Raises `Rejected`."""
    return codec.decode(data, Block, MAX_BLOCK_BYTES)


def decode_header(data: bytes) -> Header:
    """Return the header that `data` encodes canonically. Raises `Rejected`."""
    return codec.decode(data, Header, MAX_HEADER_BYTES)


assert MAX_BLOCK_BYTES >= MAX_TRANSACTION_BYTES
