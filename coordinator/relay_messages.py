"""What coordinators ask each other about a job, and what they answer (rules H2 and H3).

Canonical MessagePack, as everything between nodes. What a job is about stands in these messages
only inside boxes: of the content only the leaseholder's key opens them, of progress and result only
the key of the coordinator that holds the job.
"""

from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta

from ledger import codec
from ledger.types import Amount, Counter, Hash, PublicKey, Record, Units

MAX_QUESTION_BYTES: Final = 2 * 2**20
MAX_ANSWER_BYTES: Final = 8 * 2**20
MAX_JOBS: Final = 64
"""Jobs that one question asks about."""
MAX_TEXT: Final = 1_024
"""Characters of a name in an offer; a job with a longer one stays at home."""
PIECE_BYTES: Final = 2 * 2**20
MAX_PIECES: Final = 16
"""Contents of up to 32 MiB travel, in boxes of `PIECE_BYTES` each."""
BOX_OVERHEAD: Final = 48
MAX_RESULT_BYTES: Final = MAX_QUESTION_BYTES - 4_096
"""A result with its receipt and openings; what is larger can be handed in at its home alone."""
MAX_PIECE: Final = 64 * 1024
"""Characters of a job's text in one report."""
TOKEN_BYTES: Final = 16

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Box = Annotated[bytes, Meta(max_length=PIECE_BYTES + BOX_OVERHEAD)]
Token = Annotated[bytes, Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]


class Describe(Record, frozen=True, tag=1):
    """What do these jobs ask of a miner, and what may they cost?"""

    jobs: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=MAX_JOBS)]


class Fetch(Record, frozen=True, tag=2):
    """What is the job about, sealed to the holder of lease `number`?"""

    job: Hash
    number: Counter
    piece: Annotated[int, Meta(ge=0, lt=MAX_PIECES)]


class Report(Record, frozen=True, tag=3):
    """A sign of life of the leaseholder; the box holds a `Progress`."""

    job: Hash
    number: Counter
    box: Box


class HandIn(Record, frozen=True, tag=4):
    """The leaseholder's result; the box holds what `complete` takes, as JSON."""

    job: Hash
    number: Counter
    box: Box


Question = Describe | Fetch | Report | HandIn


class Progress(Record, frozen=True):
    """How far a job is; `token` came with the content, so that the leaseholder alone has it."""

    token: Token
    progress: Annotated[int, Meta(ge=0, le=100)]
    phase: Annotated[str, Meta(max_length=16)] | None
    offset: Counter
    """Where in the job's text the piece begins, in characters."""
    text: Annotated[str, Meta(max_length=MAX_PIECE)]


class Offer(Record, frozen=True):
    """What a miner may know of a job before it has the lease. Money in base units."""

    job: Hash
    job_type: Text
    model: Text
    gpu_type: Text | None
    gpu_count: Counter
    gpu_memory: Counter
    max_units: Units
    max_price: Amount
    estimated_seconds: Counter


class Described(Record, frozen=True, tag=1):
    """The jobs of a `Describe` that are known and live, and the Ed25519 key of who answers."""

    key: PublicKey
    offers: Annotated[tuple[Offer, ...], Meta(max_length=MAX_JOBS)]


class Content(Record, frozen=True, tag=2):
    """One of `pieces` boxes for the leaseholder's key, and the sealed opening of the terms."""

    pieces: Annotated[int, Meta(ge=1, le=MAX_PIECES)]
    box: Box
    terms: Annotated[str, Meta(max_length=8_192)]


class Noted(Record, frozen=True, tag=3):
    """The progress is noted; the client asked for the job's end or did not."""

    cancel_requested: bool
    length: Counter
    """Characters of the job's text that home has."""


class Taken(Record, frozen=True, tag=4):
    """The result is durable. The receipt's attestations, as JSON, are the signed word for it."""

    attestations: Annotated[bytes, Meta(max_length=65_536)]


class Refusal(IntEnum):
    """Why a question has no other answer."""

    MALFORMED = 1
    """Not a question, or a box that does not open."""
    BUSY = 2
    """Too many questions just now."""
    UNKNOWN_JOB = 3
    NOT_LEASED = 4
    """No such lease is in force in the state that is final here: ask again, or it is over."""
    CONTENT_GONE = 5
    """The content was deleted, is over the limit, or cannot be sealed to the miner's key."""
    TOKEN_WRONG = 6
    RESULT_REFUSED = 7
    """The result contradicts itself, the job or the lease; the detail names the member."""
    OTHER_RESULT = 8
    """The lease has another result already."""
    FAILED = 9
    """No answer for a reason on this side."""


class Refused(Record, frozen=True, tag=5):
    """No, for one reason; the detail is for people."""

    refusal: Refusal
    detail: Annotated[str, Meta(max_length=256)] = ""


Answer = Described | Content | Noted | Taken | Refused


def decode_question(data: bytes) -> Question:
    """Return a question. Raises `Rejected`."""
    # A union of tagged records is a type to msgspec, if not to mypy.
    question: Question = codec.decode(data, Question, MAX_QUESTION_BYTES)  # type: ignore[arg-type]
    return question


def decode_answer(data: bytes) -> Answer:
    """Return an answer. Raises `Rejected`."""
    answer: Answer = codec.decode(data, Answer, MAX_ANSWER_BYTES)  # type: ignore[arg-type]
    return answer
