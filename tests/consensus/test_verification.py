import msgspec
import pytest

from consensus.messages import Certificate, CertificateRequest, CommittedBlock, FinalityProof
from consensus.verification import (
    check_request,
    verify_block,
    verify_certificate,
    verify_committed,
    verify_finality,
    verify_proposal,
    verify_succession,
    verify_vote,
)
from ledger.ballots import NO_BLOCK, VoteKind
from ledger.blocks import Block, compute_authorities_hash, compute_header_hash
from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transfer, sign_transaction
from tests.consensus.network import (
    CHAIN_ID,
    get_seed,
    make_ballot,
    make_block,
    make_certificate,
    make_child,
    make_committee,
    make_proposal,
    make_quorum,
    make_vote,
)

COMMITTEE = make_committee(4)
BLOCK = make_block(COMMITTEE)
BLOCK_HASH = compute_header_hash(BLOCK.header)
NOTARIZE = make_ballot(VoteKind.NOTARIZE, 1, BLOCK_HASH)
FINALIZE = make_ballot(VoteKind.FINALIZE, 1, BLOCK_HASH)


def refuse(certificate: Certificate, size: int = 4) -> str:
    with pytest.raises(Rejected) as raised:
        verify_certificate(certificate, make_committee(size))
    assert raised.value.reason is Rejection.BAD_CERTIFICATE
    return raised.value.detail


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 100])
def test_a_quorum_is_a_certificate(size: int) -> None:
    certificate = make_quorum(make_ballot(VoteKind.NULLIFY, 9), size)
    assert verify_certificate(certificate, make_committee(size)).certificate == certificate


def test_every_vote_too_is_a_certificate() -> None:
    verify_certificate(make_certificate(NOTARIZE, range(4)), COMMITTEE)


def test_one_below_the_quorum() -> None:
    assert "quorum is 3" in refuse(make_certificate(NOTARIZE, (0, 2)))


def test_a_lone_authority_signs_too() -> None:
    assert "signature" in refuse(
        Certificate(FINALIZE, (0,), (make_vote(NOTARIZE, 0).signature,)), size=1
    )


def test_a_signer_twice() -> None:
    assert "distinct" in refuse(make_certificate(NOTARIZE, (0, 1, 1)))


def test_signers_out_of_order() -> None:
    assert "ascend" in refuse(make_certificate(NOTARIZE, (1, 0, 2)))


def test_a_signature_too_few() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    refuse(msgspec.structs.replace(certificate, signatures=certificate.signatures[:2]))


def test_a_signer_beyond_the_set() -> None:
    assert "no authority 4" in refuse(make_certificate(NOTARIZE, (0, 1, 4)))


def test_one_false_signature() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    signatures = (*certificate.signatures[:2], bytes(64))
    assert "authority 2" in refuse(msgspec.structs.replace(certificate, signatures=signatures))


def test_signatures_of_the_wrong_signers() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    refuse(msgspec.structs.replace(certificate, signers=(0, 1, 3)))


def test_another_epoch() -> None:
    assert "epoch 1" in refuse(make_quorum(make_ballot(VoteKind.NULLIFY, 1, epoch=1), 4))


def test_signatures_of_another_epoch() -> None:
    certificate = make_quorum(make_ballot(VoteKind.NULLIFY, 1, epoch=1), 4)
    refuse(msgspec.structs.replace(certificate, ballot=make_ballot(VoteKind.NULLIFY, 1)))


def test_another_chain() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    with pytest.raises(Rejected):
        verify_certificate(certificate, make_committee(4, chain_id=bytes(32)))


def test_another_kind() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    refuse(msgspec.structs.replace(certificate, ballot=FINALIZE))


def test_another_view() -> None:
    certificate = make_quorum(NOTARIZE, 4)
    ballot = make_ballot(VoteKind.NOTARIZE, 2, BLOCK_HASH)
    refuse(msgspec.structs.replace(certificate, ballot=ballot))


@pytest.mark.parametrize(
    "ballot",
    [make_ballot(VoteKind.NULLIFY, 1, BLOCK_HASH), make_ballot(VoteKind.FINALIZE, 1, NO_BLOCK)],
)
def test_a_nullify_alone_names_no_block(ballot: object) -> None:
    refuse(make_quorum(ballot, 4))  # type: ignore[arg-type]


def test_votes() -> None:
    verify_vote(make_vote(NOTARIZE, 3), COMMITTEE)
    with pytest.raises(Rejected, match="no authority 4"):
        verify_vote(make_vote(NOTARIZE, 4), COMMITTEE)
    with pytest.raises(Rejected, match="BAD_SIGNATURE"):
        verify_vote(msgspec.structs.replace(make_vote(NOTARIZE, 3), signer=2), COMMITTEE)


def test_proposals() -> None:
    proposal = make_proposal(BLOCK, 1)
    assert verify_proposal(proposal, COMMITTEE).block_hash == BLOCK_HASH
    with pytest.raises(Rejected, match="BAD_SIGNATURE"):
        verify_proposal(make_proposal(BLOCK, 2), COMMITTEE)
    with pytest.raises(Rejected, match="another view"):
        verify_proposal(make_proposal(BLOCK, 2, view=2), COMMITTEE)
    usurped = make_block(COMMITTEE, view=1)
    header = msgspec.structs.replace(usurped.header, proposer=COMMITTEE.get_key(2))
    with pytest.raises(Rejected, match="BAD_PROPOSER"):
        verify_proposal(make_proposal(Block(header, ()), 2), COMMITTEE)
    header = msgspec.structs.replace(usurped.header, parent_view=1)
    with pytest.raises(Rejected, match="BAD_HEADER"):
        verify_proposal(make_proposal(Block(header, ()), 1), COMMITTEE)
    other_chain = make_block(make_committee(4, chain_id=bytes(32)))
    with pytest.raises(Rejected, match="another chain"):
        verify_proposal(make_proposal(other_chain, 1), COMMITTEE)


def test_an_epochs_last_block_may_be_proposed_again() -> None:
    closing = make_block(COMMITTEE, next_authorities=bytes(32))
    verify_proposal(make_proposal(closing, 2, view=2), COMMITTEE)
    closing_hash = compute_header_hash(closing.header)
    for view in (1, 6):
        certificate = make_quorum(make_ballot(VoteKind.FINALIZE, view, closing_hash), 4)
        verify_finality(closing.header, FinalityProof((), certificate), COMMITTEE)
    ordinary = make_quorum(make_ballot(VoteKind.FINALIZE, 6, BLOCK_HASH), 4)
    with pytest.raises(Rejected, match="another view"):
        verify_finality(BLOCK.header, FinalityProof((), ordinary), COMMITTEE)


def test_other_transactions_under_a_certified_header() -> None:
    transfer = sign_transaction(get_seed(0), CHAIN_ID, 0, 1, 9, Transfer(bytes(20), 1))
    false = Block(BLOCK.header, (transfer,))
    for refused in (
        lambda: verify_block(false),
        lambda: verify_proposal(make_proposal(false, 1), COMMITTEE),
    ):
        with pytest.raises(Rejected, match="BAD_ROOT"):
            refused()


def test_finality_of_the_block_and_by_a_descendant() -> None:
    own = FinalityProof((), make_quorum(FINALIZE, 4))
    verify_committed(CommittedBlock(BLOCK, own), COMMITTEE)
    child = make_child(COMMITTEE, BLOCK, 2)
    grandchild = make_child(COMMITTEE, child, 5)
    tip = make_ballot(VoteKind.FINALIZE, 5, compute_header_hash(grandchild.header))
    headers = (child.header, grandchild.header)
    verify_finality(BLOCK.header, FinalityProof(headers, make_quorum(tip, 4)), COMMITTEE)
    for false in (
        FinalityProof(headers[1:], make_quorum(tip, 4)),
        FinalityProof(headers[:1], make_quorum(tip, 4)),
        FinalityProof((), make_quorum(tip, 4)),
        FinalityProof((), make_quorum(NOTARIZE, 4)),
        FinalityProof((), make_certificate(FINALIZE, (0, 1))),
    ):
        with pytest.raises(Rejected):
            verify_finality(BLOCK.header, false, COMMITTEE)


def test_a_header_of_another_set() -> None:
    certificate = make_quorum(FINALIZE, 4)
    with pytest.raises(Rejected, match="authority set"):
        verify_finality(BLOCK.header, FinalityProof((), certificate), make_committee(5))


def test_the_set_that_follows() -> None:
    following = make_committee(5, epoch=1).authorities
    closing = make_block(COMMITTEE, next_authorities=compute_authorities_hash(following))
    committee = verify_succession(closing.header, following, COMMITTEE)
    assert (committee.epoch, committee.size, committee.chain_id) == (1, 5, CHAIN_ID)
    skipped = make_committee(5, epoch=2).authorities
    for header, other in (
        (closing.header, make_committee(4, epoch=1).authorities),
        (make_block(COMMITTEE, next_authorities=compute_authorities_hash(skipped)).header, skipped),
        (BLOCK.header, COMMITTEE.authorities),
    ):
        with pytest.raises(Rejected, match="another authority set"):
            verify_succession(header, other, COMMITTEE)


def test_requests() -> None:
    check_request(CertificateRequest(0, 1, 5), COMMITTEE)
    for false in (CertificateRequest(0, 5, 1), CertificateRequest(1, 1, 5)):
        with pytest.raises(Rejected):
            check_request(false, COMMITTEE)
