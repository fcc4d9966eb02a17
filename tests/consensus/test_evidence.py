import msgspec
import pytest

from consensus.evidence import (
    Evidence,
    ProposalEvidence,
    VoteEvidence,
    build_evidence_payload,
    make_proposal_evidence,
    verify_evidence,
)
from ledger import codec
from ledger.ballots import VoteKind, find_fault
from ledger.rejection import Rejected
from tests.consensus.network import (
    CHAIN_ID,
    get_key,
    make_ballot,
    make_block,
    make_committee,
    make_proposal,
    make_vote,
)

COMMITTEE = make_committee(4)
A, B = b"\x0a" * 32, b"\x0b" * 32
NOTARIZE, NULLIFY, FINALIZE = VoteKind


def test_two_votes_convict_their_signer() -> None:
    evidence = VoteEvidence(
        make_vote(make_ballot(NULLIFY, 1), 2), make_vote(make_ballot(FINALIZE, 1, A), 2)
    )
    offence = verify_evidence(evidence, COMMITTEE)
    assert (offence.epoch, offence.view, offence.offender) == (0, 1, get_key(2))


def test_two_proposals_convict_their_leader() -> None:
    first, second = make_block(COMMITTEE), make_block(COMMITTEE, time=1_001)
    evidence = make_proposal_evidence(make_proposal(first, 1), make_proposal(second, 1))
    assert verify_evidence(evidence, COMMITTEE).offender == get_key(1)
    data = codec.encode(evidence)
    assert codec.decode(data, ProposalEvidence, 2_048) == evidence


def _forged() -> list[Evidence]:
    first, second = make_block(COMMITTEE), make_block(COMMITTEE, time=1_001)
    elsewhere = make_block(COMMITTEE, view=5)
    vote = make_vote(make_ballot(NOTARIZE, 1, A), 2)
    other = make_vote(make_ballot(NOTARIZE, 1, B), 2)
    return [
        VoteEvidence(vote, vote),
        VoteEvidence(vote, make_vote(make_ballot(NOTARIZE, 1, B), 3)),
        VoteEvidence(vote, make_vote(make_ballot(NULLIFY, 1), 2)),
        VoteEvidence(vote, make_vote(make_ballot(FINALIZE, 1, B), 2)),
        VoteEvidence(vote, msgspec.structs.replace(other, signature=vote.signature)),
        make_proposal_evidence(make_proposal(first, 1), make_proposal(first, 1)),
        make_proposal_evidence(make_proposal(first, 1), make_proposal(elsewhere, 1)),
        make_proposal_evidence(make_proposal(first, 1), make_proposal(second, 2)),
    ]


@pytest.mark.parametrize("index", range(8))
def test_anything_else_convicts_nobody(index: int) -> None:
    with pytest.raises(Rejected):
        verify_evidence(_forged()[index], COMMITTEE)


def test_evidence_of_another_epoch_needs_its_committee() -> None:
    evidence = VoteEvidence(
        make_vote(make_ballot(NOTARIZE, 1, A), 2), make_vote(make_ballot(NOTARIZE, 1, B), 2)
    )
    with pytest.raises(Rejected):
        verify_evidence(evidence, make_committee(4, epoch=1))


def test_what_a_node_saw_convicts_on_chain() -> None:
    first, second = make_block(COMMITTEE), make_block(COMMITTEE, time=1_001)
    seen: list[tuple[Evidence, int]] = [
        (make_proposal_evidence(make_proposal(first, 1), make_proposal(second, 1)), 1),
        *(
            (VoteEvidence(make_vote(one, 2), make_vote(other, 2)), 2)
            for one, other in (
                (make_ballot(NOTARIZE, 1, A), make_ballot(NOTARIZE, 1, B)),
                (make_ballot(FINALIZE, 1, A), make_ballot(FINALIZE, 1, B)),
                (make_ballot(FINALIZE, 1, A), make_ballot(NULLIFY, 1)),
            )
        ),
    ]
    for evidence, offender in seen:
        payload = build_evidence_payload(evidence, COMMITTEE)
        assert payload.offender == get_key(offender)
        assert find_fault(payload.conflict, payload.offender, CHAIN_ID) == (0, 1)


def test_evidence_of_a_closing_block_proposed_again_names_the_view_of_the_proposals() -> None:
    closing = make_block(COMMITTEE, next_authorities=bytes(32))
    other = make_block(COMMITTEE, view=2)
    evidence = make_proposal_evidence(make_proposal(closing, 2, view=2), make_proposal(other, 2))
    payload = build_evidence_payload(evidence, COMMITTEE)
    assert find_fault(payload.conflict, get_key(2), CHAIN_ID) == (0, 2)


@pytest.mark.parametrize("index", range(8))
def test_what_convicts_nobody_becomes_no_transaction(index: int) -> None:
    with pytest.raises(Rejected):
        build_evidence_payload(_forged()[index], COMMITTEE)
