from consensus.verification import verify_certificate
from consensus.vote_keeper import VIEW_WINDOW, VoteKeeper
from ledger.ballots import VoteKind
from tests.consensus.network import make_ballot, make_committee, make_vote

NOTARIZE = make_ballot(VoteKind.NOTARIZE, 3, b"\x01" * 32)
OTHER = make_ballot(VoteKind.NOTARIZE, 3, b"\x02" * 32)
NULLIFY = make_ballot(VoteKind.NULLIFY, 3)
FINALIZE = make_ballot(VoteKind.FINALIZE, 3, b"\x01" * 32)


def test_the_vote_that_completes_the_quorum_gives_the_certificate_once() -> None:
    keeper = VoteKeeper(4)
    counted = [keeper.add(make_vote(NOTARIZE, signer), 3) for signer in (3, 0, 2, 1)]
    assert [bool(each.certificate) for each in counted] == [False, False, True, False]
    certificate = counted[2].certificate
    assert certificate is not None and certificate.signers == (0, 2, 3)
    verify_certificate(certificate, make_committee(4))


def test_a_vote_counts_once() -> None:
    keeper = VoteKeeper(4)
    assert keeper.add(make_vote(NOTARIZE, 1), 3).is_new
    assert not keeper.add(make_vote(NOTARIZE, 1), 3).is_new
    keeper.add(make_vote(NOTARIZE, 2), 3)
    assert keeper.get_signers(NOTARIZE) == (1, 2)


def test_a_second_hash_is_evidence_and_no_vote() -> None:
    keeper = VoteKeeper(4)
    keeper.add(make_vote(NOTARIZE, 1), 3)
    counted = keeper.add(make_vote(OTHER, 1), 3)
    assert counted.evidence is not None and not counted.is_new
    assert keeper.get_signers(OTHER) == ()


def test_nullify_and_finalize_are_evidence_in_either_order() -> None:
    for first, second in ((NULLIFY, FINALIZE), (FINALIZE, NULLIFY)):
        keeper = VoteKeeper(4)
        keeper.add(make_vote(first, 1), 3)
        assert keeper.add(make_vote(second, 1), 3).evidence is not None


def test_honest_pairs_are_no_evidence() -> None:
    keeper = VoteKeeper(4)
    for ballot in (NOTARIZE, NULLIFY):
        assert keeper.add(make_vote(ballot, 1), 3).evidence is None
    keeper.add(make_vote(OTHER, 2), 3)
    assert keeper.add(make_vote(FINALIZE, 2), 3).evidence is None


def test_memory_is_bounded_by_the_window() -> None:
    keeper = VoteKeeper(4)
    for view in range(1, 10_000):
        keeper.add(make_vote(make_ballot(VoteKind.NULLIFY, 5_000), 1), view)
    far = make_ballot(VoteKind.NULLIFY, 3 + VIEW_WINDOW + 1)
    assert not keeper.add(make_vote(far, 2), 3).is_new
    assert keeper.get_vote(far.view, far.kind, 2) is None


def test_f_and_one_are_believed() -> None:
    keeper = VoteKeeper(4)
    keeper.add(make_vote(make_ballot(VoteKind.NULLIFY, 900), 1), 3)
    assert keeper.compute_supported_view() == 0
    keeper.add(make_vote(make_ballot(VoteKind.NULLIFY, 20), 2), 3)
    assert keeper.compute_supported_view() == 20
    assert not keeper.is_said_by_honest(NULLIFY)
    for signer in (0, 3):
        keeper.add(make_vote(NULLIFY, signer), 3)
    assert keeper.is_said_by_honest(NULLIFY)


def test_pruned_votes_are_gone() -> None:
    keeper = VoteKeeper(4)
    newest = 3 + VIEW_WINDOW
    for view in range(3, newest + 1):
        keeper.add(make_vote(make_ballot(VoteKind.NULLIFY, view), 1), view)
    keeper.prune(newest + 1)
    assert keeper.get_vote(3, VoteKind.NULLIFY, 1) is None
    assert keeper.get_vote(4, VoteKind.NULLIFY, 1) is not None
    assert keeper.get_signers(NULLIFY) == ()


def test_a_jump_forgets_no_view_that_it_leaves() -> None:
    keeper = VoteKeeper(4)
    keeper.add(make_vote(NULLIFY, 1), 3)
    keeper.prune(10_000)
    assert keeper.add(make_vote(FINALIZE, 1), 10_000).evidence is not None
