from hashlib import sha256

import pytest

from consensus.journal import (
    JOURNAL_VERSION,
    JournalDamaged,
    JournalHead,
    KeptCertificate,
    SignedProposal,
    SignedVote,
    decode_journal,
    encode_frame,
)
from ledger.ballots import VoteKind
from tests.consensus.network import (
    CHAIN_ID,
    get_key,
    make_ballot,
    make_block,
    make_committee,
    make_proposal,
    make_quorum,
    make_vote,
)

KEY = get_key(1)
HEAD = JournalHead(JOURNAL_VERSION, CHAIN_ID, KEY, 0, 0, 0, False)
FIRST = SignedProposal(1, make_proposal(make_block(make_committee(4)), 1))
CERTIFICATE = KeptCertificate(make_quorum(make_ballot(VoteKind.NULLIFY, 1), 4))
SECOND = SignedVote(2, make_vote(make_ballot(VoteKind.NULLIFY, 2), 1))
FRAMES = [encode_frame((HEAD,)), encode_frame((FIRST,)), encode_frame((CERTIFICATE, SECOND))]
WHOLE = b"".join(FRAMES)


def test_round_trip() -> None:
    journal = decode_journal(WHOLE, CHAIN_ID, KEY)
    assert journal is not None
    assert (journal.head, journal.entries) == (HEAD, (FIRST, CERTIFICATE, SECOND))
    assert journal.length == len(WHOLE)


def test_cut_at_every_byte() -> None:
    ends = [0, len(FRAMES[0]), len(FRAMES[0]) + len(FRAMES[1]), len(WHOLE)]
    for length in range(len(WHOLE)):
        journal = decode_journal(WHOLE[:length], CHAIN_ID, KEY)
        intact = max(end for end in ends if end <= length)
        assert (0 if journal is None else journal.length) == intact


def test_unwritten_and_half_written_ends() -> None:
    intact = len(FRAMES[0]) + len(FRAMES[1])
    last = FRAMES[2]
    for torn in (
        bytes(4_096),
        last[:20] + bytes(len(last) - 20),
        last[:20] + bytes(len(last) + 4_076),
        bytes(20) + last[20:],
    ):
        if not any(torn[:4]) and any(torn):
            continue
        journal = decode_journal(WHOLE[:intact] + torn, CHAIN_ID, KEY)
        assert journal is not None and journal.length == intact


def test_a_flipped_bit_before_the_last_frame_is_damage() -> None:
    start = len(FRAMES[0])
    for position in range(start + 12, start + len(FRAMES[1]), 7):
        damaged = bytearray(WHOLE)
        damaged[position] ^= 1
        with pytest.raises(JournalDamaged):
            decode_journal(bytes(damaged), CHAIN_ID, KEY)


def test_files_of_others() -> None:
    for chain_id, key in ((bytes(32), KEY), (CHAIN_ID, get_key(2))):
        with pytest.raises(JournalDamaged, match="another chain or key"):
            decode_journal(WHOLE, chain_id, key)


def test_a_signature_left_out() -> None:
    with pytest.raises(JournalDamaged, match="signature 1 is missing"):
        decode_journal(FRAMES[0] + FRAMES[2], CHAIN_ID, KEY)


def test_no_head_and_two_heads() -> None:
    with pytest.raises(JournalDamaged, match="head of this version"):
        decode_journal(FRAMES[1], CHAIN_ID, KEY)
    with pytest.raises(JournalDamaged, match="second head"):
        decode_journal(FRAMES[0] * 2, CHAIN_ID, KEY)


def test_a_checked_frame_that_does_not_decode() -> None:
    content = b"\x91\x90"
    frame = len(content).to_bytes(4, "big") + sha256(content).digest()[:8] + content
    with pytest.raises(JournalDamaged, match="MALFORMED"):
        decode_journal(FRAMES[0] + frame, CHAIN_ID, KEY)


def test_an_empty_file_holds_nothing() -> None:
    assert decode_journal(b"", CHAIN_ID, KEY) is None
    assert decode_journal(bytes(100), CHAIN_ID, KEY) is None
