"""What authorities say to each other, and the bytes that they sign (rules C2 to C5).

A ballot is what a signature is over; chain id and protocol version are signed but not carried, so
a message of another chain or version fails its signature.
"""

from typing import Annotated, Final

from msgspec import Meta

from ledger import codec
from ledger.ballots import Ballot
from ledger.blocks import MAX_AUTHORITIES, MAX_BLOCK_BYTES, Block, Header
from ledger.rejection import Rejected, Rejection
from ledger.types import Counter, Record, Signature

MAX_MESSAGE_BYTES: Final = MAX_BLOCK_BYTES + 1_024
MAX_FINALITY_BYTES: Final = MAX_BLOCK_BYTES
MAX_CERTIFICATE_BYTES: Final = 8_192
MAX_REQUESTED_VIEWS: Final = 64
MAX_PROOF_HEADERS: Final = 4_096

SignerIndex = Annotated[int, Meta(ge=0, lt=MAX_AUTHORITIES)]
"""Position of an authority in the set of its epoch."""


class Vote(Record, frozen=True, tag=1):
    """One authority's signed ballot."""

    ballot: Ballot
    signer: SignerIndex
    signature: Signature


class Proposal(Record, frozen=True, tag=2):
    """A leader's block for a view: that in its header, or a later one where rule C17 has the last
    block of an epoch proposed again."""

    view: Counter
    block: Block
    signature: Signature


class Certificate(Record, frozen=True, tag=3):
    """A quorum's signatures of one ballot: `signers` ascending, one signature for each."""

    ballot: Ballot
    signers: Annotated[tuple[SignerIndex, ...], Meta(min_length=1, max_length=MAX_AUTHORITIES)]
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=MAX_AUTHORITIES)]


class CertificateRequest(Record, frozen=True, tag=4):
    """A question for the certificates of the views from `first_view` to `last_view`."""

    epoch: Counter
    first_view: Counter
    last_view: Counter


Message = Vote | Proposal | Certificate | CertificateRequest


class Envelope(Record, frozen=True):
    """The one thing that authorities send each other."""

    message: Message


class FinalityProof(Record, frozen=True):
    """A finalize certificate of a block, or of a descendant with the headers down to it.

    `headers` begin at the block's child and end with the block that the certificate names; they
    are empty where it names the block itself.
    """

    headers: Annotated[tuple[Header, ...], Meta(max_length=MAX_PROOF_HEADERS)]
    certificate: Certificate


class CommittedBlock(Record, frozen=True):
    """A block and the proof that it is final."""

    block: Block
    finality: FinalityProof


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of a message."""
    return codec.encode(Envelope(message))


def decode_message(data: bytes) -> Message:
    """Return the message that `data` encodes canonically. Raises `Rejected`."""
    message = codec.decode(data, Envelope, MAX_MESSAGE_BYTES).message
    if isinstance(message, Certificate) and len(data) > MAX_CERTIFICATE_BYTES:
        raise Rejected(Rejection.TOO_LARGE, "a certificate has at most one signature a member")
    return message


def decode_finality(data: bytes) -> FinalityProof:
    """Return the finality proof that `data` encodes canonically. Raises `Rejected`."""
    return codec.decode(data, FinalityProof, MAX_FINALITY_BYTES)
