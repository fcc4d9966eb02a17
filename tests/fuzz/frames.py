"""Frames that are almost right: real messages of every kind, spoilt at one or a few places.

A seed gives the same frames each time. Most are spoilt in their structure, so that they come past
the first length check: another type or number at some place, one element more or less, an integer
or length in a longer form, a length that promises more than follows.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from consensus.messages import (
    Certificate,
    CertificateRequest,
    CommittedBlock,
    FinalityProof,
    Proposal,
    Vote,
    encode_message,
)
from coordinator import relay_messages
from ledger import codec
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block
from node.peer_messages import (
    BlockRequest,
    HeadNotice,
    KeyNotice,
    PresenceRequest,
    RangeAnswer,
    RangeRequest,
    RelayRequest,
    TransactionBatch,
    encode_news,
    encode_question,
)
from tests.ledger.samples import HEADER, JOB, TRANSACTIONS

_BLOCK = Block(HEADER, TRANSACTIONS)
_BALLOTS = (
    Ballot(VoteKind.NOTARIZE, 0, 1, bytes([7]) * 32),
    Ballot(VoteKind.NULLIFY, 0, 2, bytes(32)),
    Ballot(VoteKind.FINALIZE, 0, 3, bytes([8]) * 32),
)
_CERTIFICATE = Certificate(_BALLOTS[2], (0, 1, 2), (bytes(64),) * 3)
_PROOF = FinalityProof((HEADER,), _CERTIFICATE)
_RAWS = tuple(codec.encode(transaction) for transaction in TRANSACTIONS)
_QUESTIONS = (
    relay_messages.Describe((JOB, bytes(32))),
    relay_messages.Fetch(JOB, 1, 0),
    relay_messages.Report(JOB, 1, bytes(80)),
    relay_messages.HandIn(JOB, 1, bytes(200)),
)

MESSAGES = (
    *(encode_message(Vote(ballot, 1, bytes(64))) for ballot in _BALLOTS),
    encode_message(_CERTIFICATE),
    encode_message(CertificateRequest(0, 1, 40)),
    encode_message(Proposal(1, _BLOCK, bytes(64))),
)
NEWS = (
    encode_news(TransactionBatch(_RAWS)),
    encode_news(HeadNotice(9)),
    encode_news(KeyNotice()),
)
QUESTIONS = (
    encode_question(BlockRequest(bytes(32))),
    encode_question(RangeRequest(1)),
    encode_question(PresenceRequest()),
    *(encode_question(RelayRequest(codec.encode(each))) for each in _QUESTIONS),
)
ANSWERS = (
    codec.encode(RangeAnswer(0, 9, (CommittedBlock(_BLOCK, _PROOF),))),
    codec.encode(_BLOCK),
)

_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    23,
    127,
    128,
    255,
    256,
    2**16,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_STRANGE: tuple[Any, ...] = (
    None, True, False, 1.5, float("nan"), float("inf"), "", "a", "\x00", b"", bytes(31), bytes(33),
    bytes(64), bytes(4_096), [], [[]], [[[[[[]]]]]], {}, {"a": 1}, msgspec.msgpack.Ext(5, b"x"),
)  # fmt: skip
_HEADS = (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc1")


class Report(NamedTuple):
    """What a run came to; memory in MiB."""

    frames: int
    sessions: int
    heights: int
    grown: float


class Spoiler:
    """A source of spoilt frames."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def spoil(self, samples: Sequence[bytes]) -> bytes:
        """Return one of the samples, usually spoilt."""
        random = self.random
        data = random.choice(samples)
        if random.random() < 0.03:
            return data
        if random.random() < 0.7:
            tree = msgspec.msgpack.decode(data)
            for _ in range(random.choice((1, 1, 1, 2, 5))):
                tree = self._spoil_tree(tree)
            data = msgspec.msgpack.encode(tree)
        if random.random() < 0.5:
            data = self._spoil_bytes(data)
        return data

    def _spoil_tree(self, value: Any) -> Any:
        random = self.random
        if isinstance(value, list) and value and random.random() < 0.85:
            place = random.randrange(len(value))
            changed = list(value)
            match random.randrange(8):
                case 0:
                    del changed[place]
                case 1:
                    changed.insert(place, changed[place])
                case 2:
                    changed += changed[: random.randrange(1, 20)]
                case _:
                    changed[place] = self._spoil_tree(value[place])
            return changed
        if isinstance(value, int) and random.random() < 0.7:
            return random.choice((*_NUMBERS, value ^ 1, value >> 1))
        if isinstance(value, bytes) and value and random.random() < 0.6:
            place = random.randrange(len(value))
            return value[:place] + random.randbytes(1) + value[place + 1 :]
        return random.choice((*_NUMBERS, *_STRANGE))

    def _spoil_bytes(self, data: bytes) -> bytes:
        random = self.random
        place = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0:
                return data[:place]
            case 1:
                return data + random.randbytes(random.randrange(1, 9))
            case 2:
                return data[:place] + random.choice(_HEADS) + data[place:]
            case 3:
                return data[:place] + random.randbytes(1) + data[place + 1 :]
            case 4:
                return data[:place] + data[random.randrange(len(data) + 1) :]
            case _:
                return random.randbytes(random.randrange(64))
