"""The bytes of a snapshot file: a state and what proves it, in frames (rules K1 to K5).

Everything in the file follows from the genesis document: authority sets from the first, the header
from its finality proof, each piece of the state from the header's root. So a file may come from
anywhere, and whoever takes pieces from several places can tell which of them lie.
"""

from typing import Annotated, BinaryIO, Final, TypeVar

from msgspec import Meta

from consensus.messages import FinalityProof
from ledger import codec
from ledger.blocks import Block
from ledger.entries import Entry
from ledger.outcomes import Outcome
from ledger.rejection import Rejected, Rejection
from ledger.state_tree import ARITY
from ledger.types import Counter, Hash, Record

MAGIC: Final = b"aitbc-snapshot/1\n"
"""Format and version: the first bytes of the file."""
PIECE_LEVELS: Final = 2
PIECE_ENTRIES: Final = ARITY**PIECE_LEVELS
"""Entries of a piece of the state (rule K4): the leaves under a node of the second level."""
HASHES_PER_FRAME: Final = 65_536
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""The largest frame: the base block with its outcomes and its finality proof."""
HASH_BYTES: Final = 32
_LENGTH_BYTES: Final = 4

T = TypeVar("T")


class SnapshotHead(Record, frozen=True):
    """What the file is of, and how many frames of each kind follow."""

    chain_id: Hash
    height: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    epoch: Counter
    """Of the block after the base, and so the number of successions since genesis."""
    entries: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class BaseBlockFrame(Record, frozen=True):
    """The final block after which the state is, as the chain's store keeps it."""

    block: Block
    outcomes: tuple[Outcome, ...]
    finality: FinalityProof


class StateItem(Record, frozen=True):
    """An entry of the state under its key."""

    key: Annotated[bytes, Meta(min_length=1, max_length=128)]
    entry: Entry


class StatePiece(Record, frozen=True):
    """Entries at neighbouring leaves."""

    items: Annotated[tuple[StateItem, ...], Meta(min_length=1, max_length=PIECE_ENTRIES)]


def count_pieces(entries: int) -> int:
    """Return how many pieces a state of so many entries has."""
    return -(-entries // PIECE_ENTRIES)


def write_frame(file: BinaryIO, content: bytes) -> None:
    """Append a frame."""
    assert 0 < len(content) <= MAX_FRAME_BYTES
    file.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)


def read_frame(file: BinaryIO) -> bytes:
    """Return the next frame's content. Raises `Rejected` (`MALFORMED`, `TOO_LARGE`)."""
    head = file.read(_LENGTH_BYTES)
    length = int.from_bytes(head, "big")
    if len(head) < _LENGTH_BYTES or length == 0:
        raise Rejected(Rejection.MALFORMED, "the file ends before its last frame")
    if length > MAX_FRAME_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"a frame of {length} bytes")
    content = file.read(length)
    if len(content) < length:
        raise Rejected(Rejection.MALFORMED, "the file ends inside a frame")
    return content


def read_record(file: BinaryIO, kind: type[T]) -> T:
    """Return the record in the next frame. Raises `Rejected`."""
    return codec.decode(read_frame(file), kind, MAX_FRAME_BYTES)


def read_magic(file: BinaryIO) -> None:
    """Read the first bytes. Raises `Rejected(MALFORMED)` for another format or version."""
    if file.read(len(MAGIC)) != MAGIC:
        raise Rejected(Rejection.MALFORMED, "it is no snapshot of this version")


def read_end(file: BinaryIO) -> None:
    """Read the end of the file. Raises `Rejected(MALFORMED)` where something follows."""
    if file.read(1):
        raise Rejected(Rejection.MALFORMED, "the file goes on after its last frame")
