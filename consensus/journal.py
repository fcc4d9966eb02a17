"""The file of what this key has signed: its records, and how a torn end is told from damage.

Rule C11. One append-only file is both the sign-state and the journal: each signature has a running
number, so an older copy of the file shows. Records that become durable together are one frame: a
length (4 bytes, big endian), the first 8 bytes of the SHA-256 of the content, and the content.
"""

from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta, Struct

from consensus.messages import Certificate, Proposal, Vote
from ledger import codec
from ledger.rejection import Rejected
from ledger.types import Counter, Hash, PublicKey, Record

JOURNAL_VERSION: Final = 1
_LENGTH_BYTES: Final = 4
_CHECKSUM_BYTES: Final = 8
_HEAD_BYTES: Final = _LENGTH_BYTES + _CHECKSUM_BYTES
_MAX_FRAME_BYTES: Final = 2**31
_MAX_ENTRIES: Final = 1_000_000
_SECTOR_BYTES: Final = 512
"""What a disk writes as a whole or not at all; larger sectors are several of these."""
_MAX_LOOKALIKES: Final = 1_000
"""Places that are tried as the beginning of a frame; chance makes a few in a whole block."""


class JournalHead(Record, frozen=True, tag=1):
    """Whose file this is, and the records before it that were dropped as no longer needed."""

    version: Counter
    chain_id: Hash
    key: PublicKey
    sequence: Counter
    """Number of the last signature before this file's first."""
    epoch: Counter
    view: Counter
    """Nothing is ever signed again up to this view of this epoch."""
    has_signed: bool
    """Whether this file ever held a signature; before that its key counts as wiped."""


class SignedVote(Record, frozen=True, tag=2):
    """A vote of ours: durable before it leaves."""

    sequence: Counter
    vote: Vote


class SignedProposal(Record, frozen=True, tag=3):
    """A proposal of ours: durable before it leaves."""

    sequence: Counter
    proposal: Proposal


class KeptProposal(Record, frozen=True, tag=4):
    """A proposal of another that our notarize vote is for: the block must outlive a crash."""

    proposal: Proposal


class KeptCertificate(Record, frozen=True, tag=5):
    """A certificate that led us to a later view; durable with the next signature."""

    certificate: Certificate


Entry = JournalHead | SignedVote | SignedProposal | KeptProposal | KeptCertificate


class _Frame(Record, frozen=True):
    entries: Annotated[tuple[Entry, ...], Meta(min_length=1, max_length=_MAX_ENTRIES)]


_FRAME_BEGIN: Final = b"\x91"
"""The first byte of every frame's content: an array of one."""


class JournalDamaged(Exception):
    """The journal cannot be what this node wrote; the node must not sign with it."""


class DecodedJournal(Struct, frozen=True):
    """The intact records, and the length in bytes to which a torn file is to be cut."""

    head: JournalHead
    entries: tuple[Entry, ...]
    length: int


def encode_frame(entries: tuple[Entry, ...]) -> bytes:
    """Return the bytes to append, and then to make durable, for records that belong together."""
    content = codec.encode(_Frame(entries))
    assert entries and len(content) <= _MAX_FRAME_BYTES
    return len(content).to_bytes(_LENGTH_BYTES, "big") + _compute_checksum(content) + content


def decode_journal(data: bytes, chain_id: bytes, key: bytes) -> DecodedJournal | None:
    """Return what a journal file holds, `None` where not even its head was ever durable.

    Only the last frame may be torn: cut short, with a wrong checksum, begun by a sector that was
    never written, or followed by nothing but zeros. Raises `JournalDamaged` for anything else, and
    for a file of another chain or key.
    """
    entries: list[Entry] = []
    position = 0
    while position < len(data):
        content = _read_content(data, position)
        if content is None:
            break
        entries += _decode_content(content, position)
        position += _HEAD_BYTES + len(content)
    if not entries:
        return None
    head = entries[0]
    if not isinstance(head, JournalHead) or head.version != JOURNAL_VERSION:
        raise JournalDamaged("it does not begin with the head of this version")
    if (head.chain_id, head.key) != (chain_id, key):
        raise JournalDamaged("it belongs to another chain or key")
    _check_sequence(head, entries[1:])
    return DecodedJournal(head, tuple(entries[1:]), position)


def _read_content(data: bytes, position: int) -> bytes | None:
    """Return a frame's content, `None` for a torn one at the end."""
    start = position + _HEAD_BYTES
    length = int.from_bytes(data[position : position + _LENGTH_BYTES], "big")
    end = start + length
    content = data[start:end]
    if end <= len(data) and 0 < length <= _MAX_FRAME_BYTES:
        if _compute_checksum(content) == data[position + _LENGTH_BYTES : start]:
            return content
    # A crash leaves the end of the file cut, unwritten (zeros) or half written, never the middle.
    if end >= len(data) or not any(data[position:]) or not any(data[end:]):
        return None
    # Sectors reach the disk in any order: without the first, the length is not to be believed.
    if _is_begin_unwritten(data, position) and not _is_frame_behind(data, position):
        return None
    raise JournalDamaged(f"the frame at byte {position} is damaged and not the last")


def _is_begin_unwritten(data: bytes, position: int) -> bool:
    """Tell whether a sector that holds some of a frame's head holds zeros from there on."""
    boundary = (position // _SECTOR_BYTES + 1) * _SECTOR_BYTES
    if not any(data[position:boundary]):
        return True
    has_two = position + _HEAD_BYTES > boundary
    return has_two and not any(data[boundary : boundary + _SECTOR_BYTES])


def _is_frame_behind(data: bytes, position: int) -> bool:
    """Tell whether anything behind a place is a whole frame, or too much there looks like one."""
    lookalikes = 0
    start = position
    while (found := data.find(_FRAME_BEGIN, start + 1 + _HEAD_BYTES)) >= 0:
        start = found - _HEAD_BYTES
        length = int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
        if not 0 < length <= len(data) - found:
            continue
        lookalikes += 1
        checksum = data[start + _LENGTH_BYTES : found]
        if (
            lookalikes > _MAX_LOOKALIKES
            or _compute_checksum(data[found : found + length]) == checksum
        ):
            return True
    return False


def _decode_content(content: bytes, position: int) -> tuple[Entry, ...]:
    try:
        return codec.decode(content, _Frame, _MAX_FRAME_BYTES).entries
    except Rejected as error:
        raise JournalDamaged(f"the frame at byte {position}: {error}") from None


def _check_sequence(head: JournalHead, entries: list[Entry]) -> None:
    sequence = head.sequence
    for entry in entries:
        if isinstance(entry, JournalHead):
            raise JournalDamaged("a second head")
        if isinstance(entry, SignedVote | SignedProposal):
            sequence += 1
            if entry.sequence != sequence:
                raise JournalDamaged(f"signature {sequence} is missing")


def _compute_checksum(content: bytes) -> bytes:
    return sha256(content).digest()[:_CHECKSUM_BYTES]
