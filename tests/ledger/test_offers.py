"""Offers: who may make, withdraw and accept one, what an acceptance binds, and when it ends."""

from typing import Any

import pytest

from ledger.entries import JobStatus, Offer
from ledger.faults import Reason
from ledger.offers import ACCEPTANCE_WINDOW, find_obstacle
from ledger.outcomes import OfferAccepted, OfferCancelled, OfferCreated
from ledger.parameters import Parameters
from ledger.rejection import Rejection
from ledger.state import get_offer
from ledger.terms import commit_price_terms, commit_public_price, open_public_price
from ledger.transactions import JobCancel, JobClaim, MinerExit, OfferAccept, OfferCancel
from tests.ledger.world import (
    CLIENT,
    COMMIT,
    MINER,
    RIVAL,
    STRANGER,
    World,
    make_offer,
    make_world,
    report,
    start_job,
    start_miner,
    start_offer,
)

PUBLIC = commit_public_price(250)


def start_market(**offer: Any) -> tuple[World, bytes, bytes]:
    """Return a world with an offer of `alpha`, a rival `beta`, and a queued job."""
    world = make_world()
    start_miner(world)
    start_miner(world, "beta", RIVAL)
    return world, start_offer(world, **offer), start_job(world)


def read_offer(world: World, offer: bytes) -> Offer:
    entry = get_offer(world.state, offer)
    assert entry is not None
    return entry


def accept(world: World, job: bytes, offer: bytes) -> int:
    return world.run(CLIENT, OfferAccept(job, offer)).code


# Making and withdrawing (rules O1 and O2)


def test_an_offer_says_what_it_was_made_of_and_holds_no_money() -> None:
    world = make_world()
    start_miner(world)
    payload = make_offer(world, metadata=b"[]")
    balance = world.get_balance(MINER)
    outcome = world.run(MINER, payload)
    (event,) = outcome.events
    assert isinstance(event, OfferCreated)
    offer = read_offer(world, event.offer)
    assert (offer.miner, offer.owner, offer.price, offer.max_jobs) == (
        "alpha", MINER.address, 250, 2,
    )  # fmt: skip
    assert (offer.metadata, offer.accepted, offer.is_cancelled) == (b"[]", 0, False)
    assert offer.ends_at == payload.expires_at
    assert world.get_balance(MINER) == balance - outcome.fee


@pytest.mark.parametrize(
    ("fields", "rejection"),
    [
        ({"miner": "nobody"}, Rejection.MINER_UNKNOWN),
        ({"miner": "beta"}, Rejection.MINER_NOT_OWNED),
        ({"price": 0}, Rejection.AMOUNT_IS_ZERO),
        ({"idempotency_tag": (1).to_bytes(32, "big")}, Rejection.OFFER_EXISTS),
        ({"expires_at": 0}, Rejection.BAD_DEADLINE),
    ],
)
def test_an_offer_that_cannot_be(fields: dict[str, object], rejection: Rejection) -> None:
    world, _, _ = start_market()
    assert world.run(MINER, make_offer(world, 2, **fields)).code == rejection


def test_an_exited_miner_offers_nothing_and_its_offers_are_not_accepted() -> None:
    world, offer, job = start_market()
    assert world.run(MINER, MinerExit("alpha")).code == 0
    assert world.run(MINER, make_offer(world, 2)).code == Rejection.MINER_NOT_ACTIVE
    assert accept(world, job, offer) == Rejection.MINER_NOT_ACTIVE


def test_two_accounts_may_use_one_tag() -> None:
    world, offer, _ = start_market()
    assert start_offer(world, 1, RIVAL, miner="beta") != offer


def test_only_the_owner_withdraws_and_only_once() -> None:
    world, offer, job = start_market()
    assert world.run(RIVAL, OfferCancel(offer)).code == Rejection.OFFER_NOT_OWNED
    assert world.run(MINER, OfferCancel(bytes(32))).code == Rejection.OFFER_UNKNOWN
    outcome = world.run(MINER, OfferCancel(offer))
    assert outcome.events == (OfferCancelled(offer, "alpha"),)
    assert world.run(MINER, OfferCancel(offer)).code == Rejection.OFFER_CANCELLED
    assert accept(world, job, offer) == Rejection.OFFER_CANCELLED


# Accepting (rule O3)


def test_an_acceptance_binds_the_job_to_miner_and_price() -> None:
    world, offer, job = start_market()
    outcome = world.run(CLIENT, OfferAccept(job, offer))
    until = world.clock + ACCEPTANCE_WINDOW
    held = world.get_job(job).acceptance
    assert held is not None
    assert (held.offer, held.miner, held.price) == (offer, "alpha", 250)
    assert held.holds_until == min(until, world.get_job(job).queue_deadline)
    assert outcome.events == (OfferAccepted(job, offer, "alpha", 250, held.holds_until, 1),)
    assert read_offer(world, offer).accepted == 1
    assert world.get_job(job).status is JobStatus.QUEUED


def test_who_may_accept_what() -> None:
    world, offer, job = start_market()
    assert world.run(STRANGER, OfferAccept(job, offer)).code == Rejection.JOB_NOT_OWNED
    assert accept(world, bytes(32), offer) == Rejection.JOB_UNKNOWN
    assert accept(world, job, bytes(32)) == Rejection.OFFER_UNKNOWN
    assert accept(world, job, offer) == 0
    assert accept(world, job, offer) == Rejection.JOB_HAS_OFFER


@pytest.mark.parametrize(
    "fields", [{"service": "whisper_transcription"}, {"billing": 1}, {"service": "llm"}]
)
def test_an_offer_for_other_work(fields: dict[str, object]) -> None:
    world, offer, job = start_market(**fields)
    assert accept(world, job, offer) == Rejection.OFFER_DIFFERS


def test_a_price_over_the_escrow() -> None:
    world, offer, _ = start_market()
    small = start_job(world, 2, escrow=249)
    assert accept(world, small, offer) == Rejection.AMOUNT_OVER_ESCROW
    assert accept(world, start_job(world, 3, escrow=250), offer) == 0


def test_a_job_that_is_leased_or_over_accepts_nothing() -> None:
    world, offer, job = start_market()
    late = start_job(world, 2)
    assert world.run(RIVAL, JobClaim(job, "beta", COMMIT)).code == 0
    assert accept(world, job, offer) == Rejection.JOB_NOT_QUEUED
    assert world.run(RIVAL, report(job, Reason.ENGINE_FAILED)).code == 0
    assert accept(world, job, offer) == 0
    world.run(CLIENT, JobCancel(late))
    assert accept(world, late, offer) == Rejection.JOB_TERMINAL


def test_a_late_acceptance_is_refused_though_the_deadline_is_not_processed() -> None:
    world = make_world(Parameters(maximum_deadlines=1))
    start_miner(world)
    offer = start_offer(world)
    first, second = start_job(world, 1), start_job(world, 2)
    outcome = world.produce(world.sign(CLIENT, OfferAccept(second, offer)), gap=30_000)[0]
    assert world.get_job(first).status is JobStatus.FAILED
    assert world.get_job(second).status is JobStatus.QUEUED
    assert outcome.code == Rejection.JOB_DEADLINE_PASSED


def test_the_last_place_has_one_winner() -> None:
    world, offer, job = start_market(max_jobs=1)
    jobs = [job, *(start_job(world, tag, STRANGER) for tag in (2, 3, 4))]
    outcomes = world.produce(
        *(
            world.sign(CLIENT if each == job else STRANGER, OfferAccept(each, offer))
            for each in jobs
        )
    )
    assert [outcome.code for outcome in outcomes] == [0, *[Rejection.OFFER_USED_UP] * 3]
    assert read_offer(world, offer).accepted == 1


def test_a_place_is_taken_for_ever() -> None:
    world, offer, job = start_market(max_jobs=1)
    assert accept(world, job, offer) == 0
    assert world.run(CLIENT, JobCancel(job)).code == 0
    assert accept(world, start_job(world, 2), offer) == Rejection.OFFER_USED_UP


def test_at_its_last_instant_an_offer_is_in_time_and_then_over() -> None:
    world = make_world()
    start_miner(world)
    first, second = start_job(world, 1), start_job(world, 2)
    offer = start_offer(world, expires_at=world.head.time + 5_000)
    ends_at = read_offer(world, offer).ends_at
    outcome = world.produce(
        world.sign(CLIENT, OfferAccept(first, offer)), gap=ends_at - world.head.time
    )[0]
    assert outcome.code == 0
    assert world.run(CLIENT, OfferAccept(second, offer), gap=1).code == Rejection.OFFER_EXPIRED


def test_an_outage_moves_the_end_of_an_offer() -> None:
    world, offer, _ = start_market()
    world.produce(gap=10**7)
    assert accept(world, start_job(world, 2), offer) == 0
    assert find_obstacle(read_offer(world, offer), world.clock) is None


def test_a_miner_that_has_had_its_claim_is_not_accepted_again() -> None:
    world, offer, job = start_market()
    world.run(MINER, JobClaim(job, "alpha", COMMIT))
    world.run(MINER, report(job, Reason.ENGINE_FAILED))
    assert accept(world, job, offer) == Rejection.CLAIMED_BEFORE


def test_a_miner_whose_bond_has_melted_is_not_accepted() -> None:
    world = make_world(Parameters(lapse_penalty=15 * 10**9))
    start_miner(world)
    offer = start_offer(world)
    lapsing = start_job(world, 1)
    world.run(MINER, JobClaim(lapsing, "alpha", COMMIT))
    world.produce(gap=11_000)
    assert accept(world, start_job(world, 2), offer) == Rejection.BOND_TOO_LOW


# The claim under an acceptance (rules O4 and O5)


def test_only_the_offers_miner_claims_and_only_at_the_public_price() -> None:
    world, offer, job = start_market()
    accept(world, job, offer)
    for commit in (COMMIT, PUBLIC):
        claim = JobClaim(job, "beta", commit)
        assert world.run(RIVAL, claim).code == Rejection.JOB_HAS_OFFER
    for commit in (COMMIT, commit_public_price(249), commit_public_price(251)):
        claim = JobClaim(job, "alpha", commit)
        assert world.run(MINER, claim).code == Rejection.PRICE_NOT_ACCEPTED
    assert world.run(MINER, JobClaim(job, "alpha", PUBLIC)).code == 0
    lease, held = world.get_job(job).lease, world.get_job(job).acceptance
    assert lease is not None and held is not None
    assert (lease.price_commit, held.price) == (PUBLIC, 250)
    assert world.run(MINER, world.settle_payload(job, 500)).code == 0
    assert world.get_job(job).acceptance == held


def test_the_public_price_opens_for_everybody() -> None:
    assert commit_price_terms(open_public_price(250)) == PUBLIC
    assert len({commit_public_price(price) for price in range(20)}) == 20


@pytest.mark.parametrize("step", ["cancel", "exhaust", "nothing"])
def test_what_becomes_of_the_offer_takes_no_acceptance_back(step: str) -> None:
    world, offer, job = start_market(max_jobs=1 if step == "exhaust" else 2)
    accept(world, job, offer)
    if step == "cancel":
        world.run(MINER, OfferCancel(offer))
    assert world.run(RIVAL, JobClaim(job, "beta", COMMIT)).code == Rejection.JOB_HAS_OFFER
    assert world.run(MINER, JobClaim(job, "alpha", PUBLIC)).code == 0


def test_an_acceptance_lapses_and_frees_job_and_price() -> None:
    world = make_world()
    start_miner(world)
    start_miner(world, "beta", RIVAL)
    offer = start_offer(world)
    start = world.head.time
    job, other = (
        start_job(world, tag, queue_deadline=start + 200_000, total_deadline=start + 300_000)
        for tag in (1, 2)
    )
    world.produce(*(world.sign(CLIENT, OfferAccept(each, offer)) for each in (job, other)))
    until = world.clock + ACCEPTANCE_WINDOW
    world.produce(gap=30_000)
    world.produce(gap=until - world.clock - 1)
    claim = JobClaim(job, "beta", COMMIT)
    assert world.run(RIVAL, claim, gap=1).code == Rejection.JOB_HAS_OFFER
    assert world.clock == until
    assert world.run(RIVAL, claim, gap=1).code == 0
    assert world.get_job(job).acceptance is None
    assert world.run(MINER, JobClaim(other, "alpha", COMMIT)).code == 0
    assert world.get_job(other).acceptance is None


def test_a_claim_that_comes_late_is_still_as_agreed() -> None:
    """What was signed while the acceptance held means the same in a later block."""
    world, offer, _ = start_market()
    start = world.head.time
    job = start_job(world, 2, queue_deadline=start + 200_000, total_deadline=start + 300_000)
    assert accept(world, job, offer) == 0
    world.produce(gap=59_000)
    assert world.run(MINER, JobClaim(job, "alpha", PUBLIC), gap=5_000).code == 0
    held = world.get_job(job).acceptance
    assert held is not None and held.price == 250


def test_a_lapsed_acceptance_makes_room_for_another() -> None:
    world = make_world()
    start_miner(world)
    start_miner(world, "beta", RIVAL)
    start = world.head.time
    far: dict[str, Any] = {"queue_deadline": start + 200_000, "total_deadline": start + 300_000}
    job = start_job(world, **far)
    first = start_offer(world)
    second = start_offer(world, 2, RIVAL, miner="beta", expires_at=start + 10**6)
    assert accept(world, job, first) == 0
    world.produce(gap=59_000)
    assert accept(world, job, second) == Rejection.JOB_HAS_OFFER
    assert accept(world, job, second) == 0
    held = world.get_job(job).acceptance
    assert held is not None and held.miner == "beta"


def test_the_miners_claim_ends_the_acceptance_when_the_job_waits_again() -> None:
    world, offer, job = start_market()
    accept(world, job, offer)
    world.run(MINER, JobClaim(job, "alpha", PUBLIC))
    world.run(MINER, report(job, Reason.ENGINE_FAILED))
    assert world.get_job(job).acceptance is None
    assert world.run(RIVAL, JobClaim(job, "beta", COMMIT)).code == 0


def test_a_client_is_never_stuck() -> None:
    world, offer, job = start_market()
    waiting = start_job(world, 2)
    balance = world.get_balance(CLIENT)
    outcomes = world.produce(
        *(world.sign(CLIENT, OfferAccept(each, offer)) for each in (job, waiting)),
        world.sign(CLIENT, JobCancel(job)),
    )
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    world.produce(gap=25_000)
    assert world.get_job(waiting).status is JobStatus.FAILED
    paid = sum(outcome.fee for outcome in outcomes)
    escrows = world.get_job(job).escrow + world.get_job(waiting).escrow
    assert world.get_balance(CLIENT) == balance - paid + escrows
