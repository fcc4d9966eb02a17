"""What nodes say to each other beside consensus, and its bytes (docs/protocol/network.md).

Consensus messages travel in their own envelope (consensus/messages.py) on the channels of votes and
blocks; these are the transactions' channel, and questions with their answers.
"""

from typing import Annotated, Final

from msgspec import Meta

from consensus.messages import CommittedBlock
from ledger import codec
from ledger.blocks import MAX_BLOCK_BYTES, Block
from ledger.transactions import MAX_TRANSACTION_BYTES
from ledger.types import Counter, Hash, Record
from p2p.interface import MAX_ANSWER_BYTES, MAX_FRAME_BYTES, MAX_QUESTION_BYTES, Channel

MAX_BATCH: Final = 1_000
"""Transactions in one frame."""
MAX_BATCH_BYTES: Final = MAX_FRAME_BYTES[Channel.TRANSACTIONS] - 8 * MAX_BATCH
MAX_RANGE: Final = 256
"""Blocks in one answer."""
MAX_RANGE_BYTES: Final = MAX_ANSWER_BYTES - MAX_BLOCK_BYTES - 65_536
"""An answer takes no further block once its blocks are this long together."""

RawTransaction = Annotated[bytes, Meta(max_length=MAX_TRANSACTION_BYTES)]


class TransactionBatch(Record, frozen=True, tag=1):
    """Transactions that wait at the sender, as their canonical bytes."""

    transactions: Annotated[tuple[RawTransaction, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class HeadNotice(Record, frozen=True, tag=2):
    """The sender's final height: a claim, believed only as a place to ask."""

    height: Counter


class KeyNotice(Record, frozen=True, tag=3):
    """Another process with the hearer's key answers the sender: one of the two is a copy."""


class News(Record, frozen=True):
    """One frame on the transactions' channel."""

    item: TransactionBatch | HeadNotice | KeyNotice


class BlockRequest(Record, frozen=True, tag=1):
    """For one block, final or not, by its hash (rule C12)."""

    block_hash: Hash


class RangeRequest(Record, frozen=True, tag=2):
    """For final blocks with their proofs, from a height on."""

    first: Counter


class RelayRequest(Record, frozen=True, tag=3):
    """For the coordinator of the other node; its bytes are the coordinators' own."""

    data: Annotated[bytes, Meta(max_length=MAX_QUESTION_BYTES - 64)]


class PresenceRequest(Record, frozen=True, tag=4):
    """For any answer at all: whoever gives it is alive."""


class Question(Record, frozen=True):
    """One question."""

    item: BlockRequest | RangeRequest | RelayRequest | PresenceRequest


class RangeAnswer(Record, frozen=True):
    """Consecutive final blocks, and from which to which height the answerer has them."""

    base: Counter
    """Where a node that began with a snapshot begins; it gives no earlier ones."""
    height: Counter
    blocks: Annotated[tuple[CommittedBlock, ...], Meta(max_length=MAX_RANGE)]


def encode_news(item: TransactionBatch | HeadNotice | KeyNotice) -> bytes:
    """Return the bytes of a frame on the transactions' channel."""
    return codec.encode(News(item))


def decode_news(data: bytes) -> TransactionBatch | HeadNotice | KeyNotice:
    """Return what a frame on the transactions' channel says. Raises `Rejected`."""
    return codec.decode(data, News, MAX_FRAME_BYTES[Channel.TRANSACTIONS]).item


def encode_question(
    item: BlockRequest | RangeRequest | RelayRequest | PresenceRequest,
) -> bytes:
    """Return the bytes of a question."""
    return codec.encode(Question(item))


def decode_question(
    data: bytes,
) -> BlockRequest | RangeRequest | RelayRequest | PresenceRequest:
    """Return a question. Raises `Rejected`."""
    return codec.decode(data, Question, MAX_QUESTION_BYTES).item


def decode_range(data: bytes) -> RangeAnswer:
    """Return the answer to a `RangeRequest`. Raises `Rejected`."""
    return codec.decode(data, RangeAnswer, MAX_ANSWER_BYTES)


def decode_fetched_block(data: bytes) -> Block:
    """Return the answer to a `BlockRequest`. Raises `Rejected`."""
    return codec.decode(data, Block, MAX_BLOCK_BYTES)
