import msgspec

from consensus import effects, inputs
from consensus.block_tree import FinalHead
from consensus.messages import Certificate, CertificateRequest, Vote
from consensus.restored import Restored
from consensus.verification import (
    check_request,
    verify_committed,
    verify_proposal,
)
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from ledger.blocks import Block, compute_header_hash
from tests.consensus.driver import TIMING, Driver, certify, find
from tests.consensus.network import (
    GENESIS,
    make_ballot,
    make_block,
    make_certificate,
    make_child,
    make_committee,
    make_proposal,
    make_vote,
)

NOTARIZE, NULLIFY, FINALIZE = VoteKind
COMMITTEE = make_committee(4)
BLOCK = make_block(COMMITTEE)
BLOCK_HASH = compute_header_hash(BLOCK.header)
OTHERS = (0, 1, 3)


def nullify(view: int, *signers: int) -> list[Vote]:
    return [make_vote(make_ballot(NULLIFY, view), signer) for signer in signers]


def certify_nullify(view: int) -> Certificate:
    return make_certificate(make_ballot(NULLIFY, view), OTHERS)


def test_a_lone_authority_produces_right_after_start() -> None:
    driver = Driver(1, 0)
    (committed,) = driver.get_committed()
    verify_committed(committed, make_committee(1))
    assert committed.finality.certificate.signers == (0,)


def test_a_lone_authority_keeps_interval_and_heartbeat() -> None:
    driver = Driver(1, 0)
    driver.work()
    driver.wait(TIMING.block_interval - 1)
    assert len(driver.get_committed()) == 1
    driver.wait(1)
    assert len(driver.get_committed()) == 2
    driver.work(False)
    driver.wait(TIMING.heartbeat - 1)
    assert len(driver.get_committed()) == 2
    driver.wait(1)
    assert len(driver.get_committed()) == 3
    assert driver.get_votes(NULLIFY) == []


def test_a_lone_authority_waits_for_its_own_slow_block() -> None:
    driver = Driver(1, 0)
    driver.is_building = False
    driver.work()
    driver.wait(60_000)
    assert driver.get_votes(NULLIFY) == []
    request = find(effects.RequestProposal, driver.done)[-1]
    assert isinstance(request, effects.RequestProposal)
    driver.tell(inputs.ProposalBuilt(driver.now, request.view, driver.build(request)))
    assert len(driver.get_committed()) == 2


def test_a_failed_build_gives_the_turn_away() -> None:
    driver = Driver(1, 0)
    driver.is_building = False
    driver.work()
    driver.wait(TIMING.block_interval)
    driver.tell(inputs.ProposalBuilt(driver.now, 2, None))
    assert driver.get_votes(NULLIFY) == [2]
    assert driver.machine.view == 3


def test_one_block_of_four() -> None:
    driver = Driver(4, 2)
    done = driver.hear(make_proposal(BLOCK, 1))
    (sign,) = find(effects.SignVote, done)
    assert isinstance(sign, effects.SignVote) and sign.proposal == make_proposal(BLOCK, 1)
    driver.hear(*(make_vote(make_ballot(NOTARIZE, 1, BLOCK_HASH), signer) for signer in (0, 1)))
    assert driver.machine.view == 2 and driver.get_votes(FINALIZE) == [1]
    driver.hear(*(make_vote(make_ballot(FINALIZE, 1, BLOCK_HASH), signer) for signer in (0, 3)))
    (committed,) = driver.get_committed()
    verify_committed(committed, COMMITTEE)
    assert driver.get_votes(NULLIFY) == []


def test_an_idle_chain_nullifies_nobody() -> None:
    driver = Driver(4, 2)
    driver.wait(TIMING.heartbeat - TIMING.listening)
    assert driver.get_votes(NULLIFY) == []
    driver.wait(TIMING.leader_timeout)
    assert driver.get_votes(NULLIFY) == [1]


def test_a_silent_leader_is_nullified_and_next_time_skipped_quickly() -> None:
    driver = Driver(4, 2)
    driver.work()
    driver.wait(TIMING.leader_timeout - 1)
    assert driver.get_votes(NULLIFY) == []
    driver.wait(1)
    assert driver.get_votes(NULLIFY) == [1]
    driver.hear(*nullify(1, 0, 3))
    assert driver.machine.view == 2
    driver.hear(certify_nullify(4))
    driver.wait(TIMING.skip_timeout)
    assert driver.get_votes(NULLIFY)[-1] == 5


def test_two_of_four_that_nullify_arm_the_timer_of_an_idle_node() -> None:
    driver = Driver(4, 2)
    driver.hear(*nullify(1, 0))
    driver.wait(TIMING.leader_timeout)
    assert driver.get_votes(NULLIFY) == []
    driver.hear(*nullify(1, 3))
    driver.wait(TIMING.leader_timeout)
    assert driver.get_votes(NULLIFY) == [1]


def test_nullify_and_finalize_exclude_each_other() -> None:
    driver = Driver(4, 2)
    driver.work()
    driver.wait(TIMING.leader_timeout)
    driver.hear(certify(NOTARIZE, BLOCK, OTHERS))
    assert driver.get_votes(FINALIZE) == []
    driver = Driver(4, 2)
    driver.hear(certify(NOTARIZE, BLOCK, OTHERS))
    assert driver.get_votes(FINALIZE) == [1]
    driver.wait(5_000)
    assert 1 not in driver.get_votes(NULLIFY)


def test_a_certificate_without_its_block_is_fetched_by_hash() -> None:
    driver = Driver(4, 2)
    done = driver.hear(certify(FINALIZE, BLOCK, OTHERS))
    assert effects.FetchBlock(BLOCK_HASH, OTHERS) in done
    again = find(effects.FetchBlock, driver.wait(2 * TIMING.delta))
    assert len(again) == 2
    driver.give(make_block(COMMITTEE, time=5))
    assert driver.get_committed() == []
    driver.give(BLOCK)
    assert [each.block for each in driver.get_committed()] == [BLOCK]


def test_a_descendant_makes_its_ancestors_final_in_order() -> None:
    driver = Driver(4, 2)
    child = make_child(COMMITTEE, BLOCK, 2)
    grandchild = make_child(COMMITTEE, child, 5)
    driver.hear(certify(FINALIZE, grandchild, OTHERS))
    for block in (grandchild, child, BLOCK):
        driver.give(block)
    committed = driver.get_committed()
    assert [each.block for each in committed] == [BLOCK, child, grandchild]
    assert [len(each.finality.headers) for each in committed] == [2, 1, 0]
    for each in committed:
        verify_committed(each, COMMITTEE)


def test_far_behind_it_catches_up_in_ranges() -> None:
    driver = Driver(4, 2)
    block = make_block(COMMITTEE, 900, 1_000, b"\x05" * 32, 999)
    driver.hear(certify(FINALIZE, block, OTHERS))
    assert effects.CatchUp(900) in driver.give(block)
    head = FinalHead(b"\x05" * 32, 899, 999, certify(FINALIZE, block, OTHERS))
    driver.tell(inputs.ChainAdvanced(driver.now, head))
    assert [each.block for each in driver.get_committed()] == [block]


def test_a_proposal_waits_for_the_nullifications_it_needs() -> None:
    driver = Driver(4, 2)
    block = make_block(COMMITTEE, view=4)
    driver.hear(certify_nullify(3))
    done = driver.hear(make_proposal(block, 0))
    requests = [each.message for each in find(effects.Send, done) if hasattr(each, "message")]
    assert CertificateRequest(0, 1, 2) in requests
    assert driver.get_votes(NOTARIZE) == []
    driver.hear(*(certify_nullify(view) for view in (1, 2)))
    assert driver.get_votes(NOTARIZE) == [4]


def test_a_proposal_past_a_notarized_view_is_refused() -> None:
    driver = Driver(4, 3)
    driver.hear(certify(NOTARIZE, BLOCK, (0, 1, 2)))
    driver.give(BLOCK)
    driver.hear(make_proposal(make_block(COMMITTEE, view=2), 2))
    assert driver.get_votes(NOTARIZE) == []


def test_an_invalid_block_is_nullified_at_once() -> None:
    driver = Driver(4, 2)
    driver.is_valid = False
    driver.hear(make_proposal(BLOCK, 1))
    assert driver.get_votes(NULLIFY) == [1] and driver.get_votes(NOTARIZE) == []


def test_a_certified_invalid_block_stops_the_node() -> None:
    driver = Driver(4, 2)
    driver.is_valid = False
    driver.hear(certify(NOTARIZE, BLOCK, OTHERS))
    (stop,) = find(effects.Stop, driver.give(BLOCK))
    assert isinstance(stop, effects.Stop) and stop.reason is effects.StopReason.DIVERGED
    assert driver.wait(20_000) == []


def test_another_copy_of_the_key_stops_the_node() -> None:
    foreign = make_ballot(NULLIFY, 7)
    for message in (make_vote(foreign, 2), make_certificate(foreign, (0, 1, 2))):
        driver = Driver(4, 2)
        (stop,) = find(effects.Stop, driver.hear(message))
        assert isinstance(stop, effects.Stop)
        assert stop.reason is effects.StopReason.OWN_KEY_ELSEWHERE
    driver = Driver(4, 1)
    (stop,) = find(effects.Stop, driver.hear(make_proposal(BLOCK, 1)))
    assert isinstance(stop, effects.Stop)


def test_listening_before_the_first_vote() -> None:
    driver = Driver(4, 2, is_listening=True)
    driver.work()
    driver.hear(make_proposal(BLOCK, 1))
    driver.wait(TIMING.listening - 1)
    assert find(effects.SignVote, driver.done) == []
    driver.wait(1)
    assert driver.get_votes(NOTARIZE) == [1]


def test_a_wiped_authority_lets_the_view_pass_that_it_woke_in() -> None:
    head = FinalHead(GENESIS, 0, 0)
    driver = Driver(4, 2, Restored(head, is_wiped=True), is_listening=True)
    driver.work()
    driver.hear(*nullify(6, 0, 3))
    assert driver.machine.view == 6
    driver.wait(TIMING.listening + TIMING.leader_timeout)
    assert find(effects.SignVote, driver.done) == []
    driver.hear(certify_nullify(6))
    driver.wait(TIMING.leader_timeout)
    assert driver.get_votes(NULLIFY) == [7]


def test_while_it_listens_its_key_may_have_signed_only_what_the_journal_holds() -> None:
    known, unknown = (make_vote(make_ballot(FINALIZE, view, BLOCK_HASH), 2) for view in (1, 3))
    restored = Restored(FinalHead(GENESIS, 0, 0), votes=(known,), first_view=1)
    driver = Driver(4, 2, restored, is_listening=True)
    driver.tell(inputs.ChainAdvanced(driver.now, FinalHead(BLOCK_HASH, 5, 5)))
    driver.hear(known)
    assert find(effects.Stop, driver.done) == []
    driver.hear(unknown)
    assert len(find(effects.Stop, driver.done)) == 1


def test_who_wakes_in_a_view_that_others_left_nullifies_at_once() -> None:
    driver = Driver(4, 0, is_listening=True)
    driver.work()
    driver.hear(*nullify(1, 2, 3))
    driver.wait(TIMING.listening)
    assert driver.get_votes(NULLIFY) == [1]


def test_a_leader_does_not_wait_for_a_parent_that_others_left() -> None:
    driver = Driver(4, 2)
    driver.work()
    driver.hear(make_proposal(BLOCK, 1))
    driver.wait(TIMING.block_interval - 1)
    driver.hear(*nullify(1, 0, 3), certify(NOTARIZE, BLOCK, OTHERS))
    assert find(effects.SignProposal, driver.done) == []
    driver.wait(1)
    assert len(find(effects.SignProposal, driver.done)) == 1


def test_after_a_crash_the_same_votes_are_sent_again() -> None:
    vote = make_vote(make_ballot(NOTARIZE, 3, BLOCK_HASH), 2)
    restored = Restored(FinalHead(GENESIS, 0, 0), votes=(vote,), first_view=3)
    driver = Driver(4, 2, restored)
    assert driver.machine.view == 3
    driver.work()
    driver.wait(TIMING.delta)
    assert effects.Broadcast(vote) in driver.done
    driver.hear(make_proposal(make_block(COMMITTEE, view=3, time=7), 3))
    assert driver.get_votes(NOTARIZE) == []


def test_a_kept_proposal_is_executed_again_after_a_crash() -> None:
    verified = verify_proposal(make_proposal(BLOCK, 1), COMMITTEE)
    vote = make_vote(make_ballot(NOTARIZE, 1, BLOCK_HASH), 2)
    restored = Restored(FinalHead(GENESIS, 0, 0), votes=(vote,), proposals=(verified,))
    driver = Driver(4, 2, restored)
    assert driver.machine.get_block(BLOCK_HASH) == BLOCK
    driver.hear(certify(FINALIZE, BLOCK, OTHERS))
    assert len(driver.get_committed()) == 1


def test_any_higher_certificate_or_two_of_four_move_it_forward() -> None:
    driver = Driver(4, 2)
    driver.hear(*nullify(9, 0))
    assert driver.machine.view == 1
    driver.hear(*nullify(8, 3))
    assert driver.machine.view == 8
    driver.hear(certify_nullify(20))
    assert driver.machine.view == 21


def test_votes_and_certificates_are_repeated_while_work_waits() -> None:
    driver = Driver(4, 2)
    driver.work()
    driver.hear(certify_nullify(1))
    driver.is_building = False
    driver.hear(certify_nullify(2))
    driver.wait(TIMING.leader_timeout)
    mark = len(driver.done)
    driver.wait(2 * TIMING.delta)
    repeated = [each.message for each in driver.done[mark:] if isinstance(each, effects.Broadcast)]
    assert repeated.count(make_vote(make_ballot(NULLIFY, 3), 2)) == 2
    assert sum(isinstance(message, Certificate) for message in repeated) == 2
    driver.hear(certify_nullify(3))
    driver.work(False)
    mark = len(driver.done)
    driver.wait(2_000)
    assert find(effects.Broadcast, driver.done[mark:]) == []


def test_a_laggard_is_shown_the_finality_it_missed() -> None:
    driver = Driver(4, 2)
    driver.hear(make_proposal(BLOCK, 1), certify(FINALIZE, BLOCK, OTHERS))
    late = make_vote(make_ballot(NOTARIZE, 1, BLOCK_HASH), 0)
    assert find(effects.Send, driver.hear(late)) == []
    driver.wait(TIMING.delta)
    assert driver.hear(late) == [effects.Send(0, certify(FINALIZE, BLOCK, OTHERS))]
    assert driver.hear(late) == []


def test_certificates_are_served_by_range() -> None:
    driver = Driver(4, 2)
    kept = [certify_nullify(view) for view in (1, 2, 3)]
    driver.hear(*kept)
    request = check_request(CertificateRequest(0, 2, 50), COMMITTEE)
    done = driver.tell(inputs.CertificatesRequested(driver.now, 3, request))
    assert done[:2] == [effects.Send(3, kept[1]), effects.Send(3, kept[2])]


def test_an_equivocating_leader_is_reported_once() -> None:
    driver = Driver(4, 2)
    other = make_block(COMMITTEE, time=1_001)
    driver.hear(make_proposal(BLOCK, 1))
    done = driver.hear(make_proposal(other, 1), make_proposal(other, 1))
    assert len(find(effects.ReportEvidence, done)) == 1


def test_an_offence_inside_a_certificate_is_found() -> None:
    driver = Driver(4, 2)
    driver.hear(*nullify(1, 3))
    done = driver.hear(certify(FINALIZE, BLOCK, OTHERS))
    assert len(find(effects.ReportEvidence, done)) == 1


def test_the_leader_waits_for_finality_but_not_for_ever() -> None:
    driver = Driver(4, 2)
    driver.work()
    driver.hear(make_proposal(BLOCK, 1), certify(NOTARIZE, BLOCK, OTHERS))
    driver.wait(TIMING.finality_wait - 1)
    assert find(effects.RequestProposal, driver.done) == []
    driver.wait(1)
    (request,) = find(effects.RequestProposal, driver.done)
    assert isinstance(request, effects.RequestProposal) and request.parent == BLOCK_HASH


def test_an_epochs_last_block_is_proposed_again_and_then_the_next_epoch_opens() -> None:
    following = make_committee(4, epoch=1)
    closing = make_block(COMMITTEE, next_authorities=following.authorities_hash)
    closing_hash = compute_header_hash(closing.header)
    driver = Driver(4, 2)
    driver.hear(make_proposal(closing, 1), certify(NOTARIZE, closing, OTHERS))
    done = driver.wait(TIMING.finality_wait)
    assert effects.SignProposal(2, closing, closing_hash) in done
    assert driver.get_votes(NOTARIZE)[-1] == 2
    driver.hear(make_certificate(Ballot(FINALIZE, 0, 2, closing_hash), OTHERS))
    (committed,) = driver.get_committed()
    verify_committed(committed, COMMITTEE)
    assert driver.hear(*nullify(5, 0, 1, 3)) == []
    driver.tell(inputs.EpochOpened(driver.now, following.authorities))
    assert (driver.machine.view, driver.machine.committee.epoch) == (2, 1)
    driver.committee = following
    first = make_block(following, 2, 2, closing_hash, 1)
    driver.work()
    driver.wait(TIMING.block_interval)
    (request,) = find(effects.RequestProposal, driver.done)
    assert isinstance(request, effects.RequestProposal)
    assert (request.epoch, request.parent, request.height) == (1, first.header.parent, 2)


def test_a_child_of_the_epochs_last_block_in_the_old_epoch_is_refused() -> None:
    closing = make_block(COMMITTEE, next_authorities=bytes(32))
    driver = Driver(4, 3)
    driver.hear(make_proposal(closing, 1), certify(NOTARIZE, closing, (0, 1, 2)))
    driver.hear(make_proposal(make_child(COMMITTEE, closing, 2), 2))
    assert 2 not in driver.get_votes(NOTARIZE)


def test_an_observer_commits_and_never_signs() -> None:
    driver = Driver(4, None)
    driver.hear(make_proposal(BLOCK, 1), certify(FINALIZE, BLOCK, OTHERS))
    driver.work()
    driver.wait(20_000)
    assert len(driver.get_committed()) == 1
    assert find(effects.SignVote, driver.done) == find(effects.SignProposal, driver.done) == []


def test_known_messages_are_not_worth_verifying() -> None:
    driver = Driver(4, 2)
    vote = make_vote(make_ballot(NOTARIZE, 1, BLOCK_HASH), 0)
    certificate = certify_nullify(1)
    proposal = make_proposal(BLOCK, 1)
    for message in (vote, certificate, proposal):
        assert driver.machine.is_useful(message)
    driver.hear(vote)
    assert not driver.machine.is_useful(vote)
    driver.hear(proposal, certificate)
    assert not driver.machine.is_useful(certificate)
    assert not driver.machine.is_useful(proposal)


def test_an_answer_that_was_not_asked_for_changes_nothing() -> None:
    driver = Driver(4, 2)
    foreign = Block(msgspec.structs.replace(BLOCK.header, height=9), ())
    for item in (
        inputs.ProposalBuilt(driver.now, 1, foreign),
        inputs.ProposalBuilt(driver.now, 3, None),
        inputs.BlockValidated(driver.now, NO_BLOCK, False, True),
        inputs.EpochOpened(driver.now, make_committee(4, epoch=1).authorities),
        inputs.ChainAdvanced(driver.now, FinalHead(GENESIS, 0, 0)),
    ):
        assert driver.tell(item) == []


def test_a_timer_that_fires_early_is_set_again() -> None:
    driver = Driver(4, 2)
    driver.work()
    at = driver.timers[effects.Timer.LEADER]
    driver.now = at - 1
    done = driver.tell(inputs.TimerFired(driver.now, effects.Timer.LEADER))
    assert effects.SetTimer(effects.Timer.LEADER, at) in done
    assert driver.get_votes(NULLIFY) == []
