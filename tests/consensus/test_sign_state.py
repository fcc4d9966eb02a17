import pytest

from consensus.block_tree import FinalHead
from consensus.journal import decode_journal, encode_frame
from consensus.sign_state import (
    ConflictingSignature,
    SignState,
    SignStateMissing,
    SignStateOlder,
    check_sign_state,
)
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import compute_header_hash
from tests.consensus.network import (
    CHAIN_ID,
    GENESIS,
    get_key,
    make_ballot,
    make_block,
    make_committee,
    make_proposal,
    make_quorum,
    make_vote,
)

COMMITTEE = make_committee(4)
BLOCK = make_block(COMMITTEE)
BLOCK_HASH = compute_header_hash(BLOCK.header)
OTHER = make_block(COMMITTEE, time=1_001)
OTHER_HASH = compute_header_hash(OTHER.header)
NOTARIZE = make_ballot(VoteKind.NOTARIZE, 1, BLOCK_HASH)


def make_state() -> SignState:
    return SignState.create(CHAIN_ID, get_key(1))


def reopen(state: SignState) -> SignState:
    """Return the state after a compaction went through a file."""
    journal = decode_journal(encode_frame(state.compact(0, 0)), CHAIN_ID, get_key(1))
    assert journal is not None
    return SignState.restore(journal)


def sign(state: SignState, ballot: Ballot) -> None:
    state.record_vote(make_vote(ballot, 1), None)


def test_the_same_ballot_gives_the_same_bytes() -> None:
    state = make_state()
    assert state.find_vote(NOTARIZE) is None
    vote = make_vote(NOTARIZE, 1)
    state.record_vote(vote, None)
    assert state.find_vote(NOTARIZE) == vote
    assert reopen(state).find_vote(NOTARIZE) == vote


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NOTARIZE, make_ballot(VoteKind.NOTARIZE, 1, OTHER_HASH)),
        (make_ballot(VoteKind.NULLIFY, 1), make_ballot(VoteKind.FINALIZE, 1, BLOCK_HASH)),
        (make_ballot(VoteKind.FINALIZE, 1, BLOCK_HASH), make_ballot(VoteKind.NULLIFY, 1)),
        (
            make_ballot(VoteKind.FINALIZE, 1, BLOCK_HASH),
            make_ballot(VoteKind.FINALIZE, 1, OTHER_HASH),
        ),
    ],
)
def test_a_conflict_is_never_signed(first: Ballot, second: Ballot) -> None:
    state = make_state()
    sign(state, first)
    for guard in (state, reopen(state)):
        with pytest.raises(ConflictingSignature):
            guard.find_vote(second)


def test_honest_pairs_are_signed() -> None:
    state = make_state()
    for ballot in (NOTARIZE, make_ballot(VoteKind.FINALIZE, 1, OTHER_HASH)):
        sign(state, ballot)
    sign(state, make_ballot(VoteKind.NOTARIZE, 2, BLOCK_HASH))
    sign(state, make_ballot(VoteKind.NULLIFY, 2))


def test_one_proposal_for_each_view() -> None:
    state = make_state()
    proposal = make_proposal(BLOCK, 1)
    state.record_proposal(proposal)
    assert state.find_proposal(0, 1, BLOCK_HASH) == proposal
    for guard in (state, reopen(state)):
        with pytest.raises(ConflictingSignature):
            guard.find_proposal(0, 1, OTHER_HASH)


def test_nothing_at_or_below_the_floor() -> None:
    state = make_state()
    sign(state, NOTARIZE)
    state.compact(0, 7)
    for guard in (state, reopen(state)):
        for view in (1, 7):
            with pytest.raises(ConflictingSignature, match="settled"):
                guard.find_vote(make_ballot(VoteKind.NULLIFY, view))
        assert guard.find_vote(make_ballot(VoteKind.NULLIFY, 8)) is None
        assert guard.find_vote(make_ballot(VoteKind.NULLIFY, 1, epoch=1)) is None


def test_numbers_survive_compaction() -> None:
    state = make_state()
    for view in range(1, 6):
        sign(state, make_ballot(VoteKind.NULLIFY, view))
    state.compact(0, 3)
    assert state.sequence == reopen(state).sequence == 5


def test_frames_carry_certificates_and_the_notarized_block_before_the_vote() -> None:
    state = make_state()
    certificate = make_quorum(make_ballot(VoteKind.NULLIFY, 1), 4)
    state.record_certificate(certificate)
    frame = state.record_vote(make_vote(NOTARIZE, 1), make_proposal(BLOCK, 1))
    assert [type(entry).__name__ for entry in frame] == [
        "KeptCertificate",
        "KeptProposal",
        "SignedVote",
    ]
    restored = reopen(state).make_restored(FinalHead(GENESIS, 0, 0), COMMITTEE)
    assert restored.certificates == (certificate,)
    assert [verified.block_hash for verified in restored.proposals] == [BLOCK_HASH]
    assert restored.votes == (make_vote(NOTARIZE, 1),)
    assert not restored.is_wiped and restored.first_view == 1


def test_a_journal_without_signatures_counts_as_wiped() -> None:
    restored = reopen(make_state()).make_restored(FinalHead(GENESIS, 0, 0), COMMITTEE)
    assert restored.is_wiped


def test_given_up_votes_leave_a_wiped_key_whose_numbers_go_on() -> None:
    state = SignState.create(CHAIN_ID, get_key(1), 41)
    assert state.make_restored(FinalHead(GENESIS, 0, 0), COMMITTEE).is_wiped
    sign(state, NOTARIZE)
    check_sign_state(reopen(state).sequence, 42)
    state.compact(0, 1)
    assert not reopen(state).make_restored(FinalHead(GENESIS, 0, 0), COMMITTEE).is_wiped


def test_what_is_final_or_of_another_epoch_is_not_restored() -> None:
    state = make_state()
    sign(state, make_ballot(VoteKind.NULLIFY, 3))
    sign(state, make_ballot(VoteKind.NULLIFY, 4, epoch=1))
    assert state.make_restored(FinalHead(GENESIS, 1, 3), COMMITTEE).votes == ()


def test_refusal_to_start() -> None:
    check_sign_state(None, 0)
    check_sign_state(5, 5)
    check_sign_state(6, 5)
    with pytest.raises(SignStateMissing):
        check_sign_state(None, 1)
    with pytest.raises(SignStateOlder):
        check_sign_state(4, 5)
