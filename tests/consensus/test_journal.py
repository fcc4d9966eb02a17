from hashlib import sha256
from random import Random

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
SECTOR = 512


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


def make_votes(first: int, count: int) -> tuple[SignedVote, ...]:
    return tuple(
        SignedVote(number, make_vote(make_ballot(VoteKind.NULLIFY, number), 1))
        for number in range(first, first + count)
    )


def test_an_end_of_which_any_sectors_were_never_written() -> None:
    draw = Random(1)
    in_two_sectors = 0
    for count in range(1, 150):
        before = FRAMES[0] + encode_frame(make_votes(1, count))
        whole = before + encode_frame(make_votes(1 + count, 10))
        in_two_sectors += len(before) % SECTOR > SECTOR - 12
        for _ in range(8):
            torn = bytearray(whole)
            for start in range(len(before) // SECTOR * SECTOR, len(whole), SECTOR):
                if draw.random() < 0.5:
                    begin, end = max(start, len(before)), min(start + SECTOR, len(whole))
                    torn[begin:end] = bytes(end - begin)
            journal = decode_journal(bytes(torn), CHAIN_ID, KEY)
            assert journal is not None
            assert journal.length == (len(whole) if torn == whole else len(before))
    assert in_two_sectors


def test_a_sector_lost_before_the_last_frame_is_damage() -> None:
    whole = FRAMES[0] + b"".join(encode_frame((vote,)) for vote in make_votes(1, 30))
    for start in range(SECTOR, len(whole) - 2 * SECTOR, SECTOR):
        damaged = whole[:start] + bytes(SECTOR) + whole[start + SECTOR :]
        with pytest.raises(JournalDamaged):
            decode_journal(damaged, CHAIN_ID, KEY)


def test_what_looks_like_a_frame_too_often_is_damage() -> None:
    lookalike = bytes(3) + b"\x01" + bytes(8) + b"\x91"
    begin = FRAMES[0] + bytes(2 * SECTOR)
    journal = decode_journal(begin + lookalike * 900, CHAIN_ID, KEY)
    assert journal is not None and journal.length == len(FRAMES[0])
    with pytest.raises(JournalDamaged):
        decode_journal(begin + lookalike * 1_100, CHAIN_ID, KEY)


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
