import pytest

from ledger import crypto
from ledger.authorities import (
    OPEN_PROPOSALS,
    compute_proposal_id,
    get_conviction,
    list_open_proposals,
)
from ledger.ballots import Ballot, ConflictingBallots, VoteKind
from ledger.blocks import Authority, compute_authorities_hash, decode_block
from ledger.entries import PROPOSALS_KEY, Conviction
from ledger.outcomes import AuthoritiesChanged, AuthorityConvicted, AuthorityVoted, Outcome
from ledger.parameters import Parameters
from ledger.quorum import compute_quorum
from ledger.rejection import Rejection
from ledger.transactions import AuthorityVote, EquivocationEvidence
from tests.ledger.authorities import (
    AUTHORITIES,
    add,
    cast,
    make_authority_world,
    prove_proposals,
    prove_votes,
    remove,
    vote,
)
from tests.ledger.world import CLIENT, OTHER_CHAIN, STRANGER, Key, World, make_set

A, B, C, D, E, F = AUTHORITIES[:6]
SIZES = range(1, 8)


def get_members(world: World) -> list[bytes]:
    """Return the keys of the set that follows."""
    return [member.key for member in world.sets.following.members]


def list_open(world: World) -> list[tuple[bool, bytes, int]]:
    """Return what is voted on for the next block, with the number of votes."""
    return [
        (each.is_add, each.key, len(each.voters))
        for each in list_open_proposals(world.state, world.head.height + 1)
    ]


def expect(reason: Rejection, outcome: Outcome) -> None:
    assert (outcome.code, outcome.events) == (int(reason), ())


# Votes


@pytest.mark.parametrize("size", SIZES)
def test_a_quorum_lets_an_authority_join_and_another_lets_it_leave(size: int) -> None:
    world = make_authority_world(size)
    voters, quorum = AUTHORITIES[:size], compute_quorum(size)
    joining = AUTHORITIES[size]
    for number, voter in enumerate(voters[:quorum], 1):
        before = world.sets
        (outcome,) = vote(world, add(joining), voter)
        voted = AuthorityVoted(True, joining.public, joining.address, number, quorum)
        if number < quorum:
            assert outcome.events == (voted,)
            assert world.sets == before
            assert list_open(world) == [(True, joining.public, number)]
    changed = AuthoritiesChanged(1, True, joining.public, joining.address)
    assert outcome.events == (voted, changed)
    assert world.sets.following == make_set(1, [*voters, joining])
    assert list_open(world) == []
    world.produce()
    assert world.sets.current == world.sets.following
    vote(world, remove(joining), *AUTHORITIES[: compute_quorum(size + 1)])
    assert world.sets.following == make_set(2, voters)


def test_the_set_changes_two_heights_after_the_vote() -> None:
    world = make_authority_world(1)
    old, new = make_set(0, [A]), make_set(1, [A, B])
    hashes = [compute_authorities_hash(each) for each in (old, new)]
    vote(world, add(B), A)
    assert (world.head.authorities, world.head.next_authorities) == (hashes[0], hashes[0])
    world.produce()
    assert (world.head.epoch, world.head.proposer) == (0, A.public)
    assert (world.head.authorities, world.head.next_authorities) == (hashes[0], hashes[1])
    world.produce()
    assert (world.head.epoch, world.head.proposer) == (1, B.public)
    assert (world.head.authorities, world.head.next_authorities) == (hashes[1], hashes[1])


def test_a_block_that_closes_an_epoch_counts_votes_by_the_new_set() -> None:
    world = make_authority_world(3)
    vote(world, remove(C), A, B, C)
    (old, known, new) = world.produce(
        world.sign(C, add(D)), world.sign(A, add(D)), world.sign(B, add(D))
    )
    expect(Rejection.NOT_AN_AUTHORITY, old)
    assert known.events == (AuthorityVoted(True, D.public, D.address, 1, 2),)
    assert new.events[1:] == (AuthoritiesChanged(2, True, D.public, D.address),)
    assert world.sets.current == make_set(1, [A, B])
    assert world.sets.following == make_set(2, [A, B, D])
    world.produce()
    assert world.head.epoch == 1 and world.head.authorities != world.head.next_authorities
    world.produce()
    assert world.head.epoch == 2


def test_several_changes_in_one_block_make_one_new_set() -> None:
    world = make_authority_world(1)
    outcomes = world.produce(world.sign(A, add(B)), world.sign(A, add(C)), world.sign(A, remove(B)))
    assert [outcome.events[-1].epoch for outcome in outcomes] == [1, 1, 1]  # type: ignore[union-attr]
    assert world.sets.following == make_set(1, [A, C])


def test_a_set_that_becomes_what_it_was_is_of_the_next_epoch() -> None:
    world = make_authority_world(1)
    world.produce(world.sign(A, add(B)), world.sign(A, remove(B)))
    assert world.sets.following == make_set(1, [A])
    world.produce()
    world.produce()
    assert world.head.epoch == 1


def test_who_joins_has_no_vote_before_the_set_is_in_force() -> None:
    world = make_authority_world(1)
    first, early = world.produce(world.sign(A, add(B)), world.sign(B, add(C)))
    assert first.code == 0
    expect(Rejection.NOT_AN_AUTHORITY, early)
    (outcome,) = vote(world, add(C), B)
    assert outcome.events == (AuthorityVoted(True, C.public, C.address, 1, 2),)


def test_who_leaves_has_no_vote_and_its_votes_are_void() -> None:
    world = make_authority_world(3)
    vote(world, add(D), C)
    vote(world, add(E), C, A)
    *_, late = world.produce(
        *(world.sign(voter, remove(C)) for voter in (A, B, C)), world.sign(C, add(F))
    )
    expect(Rejection.NOT_AN_AUTHORITY, late)
    assert list_open(world) == [(True, E.public, 1)]


def test_votes_for_other_accounts_are_other_votes() -> None:
    world = make_authority_world(2)
    vote(world, add(C), A)
    vote(world, add(C, CLIENT.address), B)
    assert list_open(world) == [(True, C.public, 1)] * 2
    vote(world, add(C, CLIENT.address), A)
    assert world.sets.following.members[-1] == Authority(C.public, CLIENT.address)
    assert list_open(world) == []
    world.produce()
    (wrong,) = vote(world, remove(C), A)
    expect(Rejection.AUTHORITY_UNKNOWN, wrong)


def test_an_account_that_is_no_consensus_key_has_no_vote() -> None:
    world = make_authority_world(2)
    for sender in (CLIENT, C):
        expect(Rejection.NOT_AN_AUTHORITY, vote(world, add(C), sender)[0])


REFUSED: dict[Rejection, AuthorityVote] = {
    Rejection.AUTHORITY_EXISTS: add(B, CLIENT.address),
    Rejection.AUTHORITY_UNKNOWN: remove(C),
    Rejection.BAD_AUTHORITY_KEY: AuthorityVote(True, bytes(32), CLIENT.address),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_done_is_not_voted_on(reason: Rejection) -> None:
    world = make_authority_world(2)
    expect(reason, vote(world, REFUSED[reason], A)[0])
    assert world.state.get(PROPOSALS_KEY) is None


def test_the_last_authority_stays() -> None:
    world = make_authority_world(1)
    expect(Rejection.AUTHORITY_IS_LAST, vote(world, remove(A), A)[0])
    vote(world, add(B), A)
    world.produce()
    *_, one = vote(world, remove(B), A, B)
    assert one.code == 0
    assert get_members(world) == [A.public]
    expect(Rejection.AUTHORITY_IS_LAST, vote(world, remove(A), A)[0])


def test_each_member_votes_once() -> None:
    world = make_authority_world(3)
    first, second = vote(world, add(D), A, A)
    assert first.code == 0
    expect(Rejection.VOTED_BEFORE, second)
    assert list_open(world) == [(True, D.public, 1)]


def test_a_smaller_set_may_find_the_quorum_reached() -> None:
    """Of five, three voted; of the four that are left they are enough, and none else need vote."""
    world = make_authority_world(5)
    vote(world, add(F), A, B, C)
    world.run(CLIENT, prove_votes(E))
    world.produce()
    assert list_open(world) == [(True, F.public, 3)]
    (outcome,) = vote(world, add(F), A)
    assert outcome.events == (
        AuthorityVoted(True, F.public, F.address, 3, 3),
        AuthoritiesChanged(2, True, F.public, F.address),
    )


def test_the_set_has_at_most_a_hundred() -> None:
    keys = [crypto.compute_public_key(number.to_bytes(32, "big")) for number in range(100)]
    world = make_authority_world(1)
    payloads = [AuthorityVote(True, key, CLIENT.address) for key in keys]
    outcomes = world.produce(*(world.sign(A, payload) for payload in payloads))
    assert [outcome.code for outcome in outcomes[:99]] == [0] * 99
    expect(Rejection.AUTHORITY_SET_FULL, outcomes[99])
    assert len(get_members(world)) == 100


# Bounds


def test_a_proposal_expires_by_height() -> None:
    world = make_authority_world(2, Parameters(vote_validity=3))
    vote(world, add(C), A)
    for _ in range(2):
        world.produce()
    assert list_open(world) == [(True, C.public, 1)]
    world.produce()
    assert list_open(world) == []
    (late,) = vote(world, add(C), B)
    assert late.events == (AuthorityVoted(True, C.public, C.address, 1, 2),)
    (again,) = vote(world, add(C), A)
    assert again.events[-1] == AuthoritiesChanged(1, True, C.public, C.address)


def test_a_vote_at_the_last_height_counts() -> None:
    world = make_authority_world(2, Parameters(vote_validity=3))
    vote(world, add(C), A)
    world.produce()
    world.produce()
    assert vote(world, add(C), B)[0].events[-1] == AuthoritiesChanged(1, True, C.public, C.address)


def test_votes_do_not_make_a_proposal_last_longer() -> None:
    world = make_authority_world(3, Parameters(vote_validity=2))
    vote(world, add(D), A)
    vote(world, add(D), B)
    world.produce()
    assert list_open(world) == []


@pytest.mark.parametrize("size", [2, 3, 5])
def test_nobody_can_use_up_the_room_for_proposals(size: int) -> None:
    world = make_authority_world(size)
    limit = OPEN_PROPOSALS // size
    payloads = [add(F, number.to_bytes(20, "big")) for number in range(limit + 1)]
    *opened, refused = world.produce(*(world.sign(A, payload) for payload in payloads))
    assert all(outcome.code == 0 for outcome in opened)
    expect(Rejection.TOO_MANY_PROPOSALS, refused)
    (other,) = vote(world, payloads[-1], B)
    assert other.code == 0
    (joined,) = vote(world, payloads[-1], A)
    assert joined.code == 0


def test_a_passed_change_makes_room_and_voids_its_opposites() -> None:
    world = make_authority_world(2)
    vote(world, remove(B), A)
    vote(world, add(C, CLIENT.address), A)
    vote(world, add(C), A, B)
    assert list_open(world) == [(False, B.public, 1)]
    world.produce()
    vote(world, remove(B), B, C)
    assert list_open(world) == []


# Evidence


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("prove", [prove_votes, prove_proposals])
def test_evidence_removes_the_offender(size: int, prove: object) -> None:
    world = make_authority_world(size)
    evidence: EquivocationEvidence = prove(B)  # type: ignore[operator]
    outcome = world.run(STRANGER, evidence)
    assert outcome.events == (
        AuthorityConvicted(B.public, 0, 9),
        AuthoritiesChanged(1, False, B.public, B.address),
    )
    assert world.sets.following == make_set(1, [key for key in AUTHORITIES[:size] if key != B])
    assert get_conviction(world.state, B.public) == Conviction(0, 9, 1)
    world.produce()
    world.produce()
    assert world.head.epoch == 1


def test_an_authority_is_convicted_once_and_for_ever() -> None:
    world = make_authority_world(4)
    first, second = world.produce(
        world.sign(STRANGER, prove_votes(B)), world.sign(CLIENT, prove_proposals(B))
    )
    assert first.code == 0 and second.fee > 0
    expect(Rejection.AUTHORITY_CONVICTED, second)
    expect(Rejection.AUTHORITY_CONVICTED, world.run(STRANGER, prove_votes(B)))
    for voter in (A, C, D):
        expect(Rejection.AUTHORITY_CONVICTED, vote(world, add(B), voter)[0])


def test_a_convict_votes_no_more_in_the_same_block() -> None:
    world = make_authority_world(4)
    vote(world, add(E), B, A)
    _, late = world.produce(world.sign(STRANGER, prove_votes(B)), world.sign(B, add(F)))
    expect(Rejection.NOT_AN_AUTHORITY, late)
    assert list_open(world) == [(True, E.public, 1)]


def test_evidence_in_the_closing_block_makes_the_next_set_too() -> None:
    world = make_authority_world(4)
    world.run(STRANGER, prove_votes(B))
    assert world.run(STRANGER, prove_votes(C)).events[-1] == AuthoritiesChanged(
        2, False, C.public, C.address
    )
    assert world.sets.current == make_set(1, [A, C, D])
    assert world.sets.following == make_set(2, [A, D])


def test_all_but_the_last_can_be_convicted() -> None:
    world = make_authority_world(4)
    evidence = [world.sign(STRANGER, prove_votes(key)) for key in (A, B, C, D)]
    *convicted, last = world.produce(*evidence)
    assert [outcome.code for outcome in convicted] == [0, 0, 0]
    expect(Rejection.AUTHORITY_IS_LAST, last)
    assert get_conviction(world.state, D.public) is None
    assert world.sets.following == make_set(1, [D])
    world.produce()
    assert vote(world, add(E), D)[0].code == 0
    world.produce()
    assert world.run(STRANGER, prove_votes(D)).code == 0
    assert get_members(world) == [E.public]


def test_a_lone_authority_is_not_convicted() -> None:
    world = make_authority_world(1)
    expect(Rejection.AUTHORITY_IS_LAST, world.run(STRANGER, prove_votes(A)))


def test_evidence_against_who_is_in_no_set() -> None:
    world = make_authority_world(4)
    expect(Rejection.AUTHORITY_UNKNOWN, world.run(STRANGER, prove_votes(E)))
    vote(world, remove(D), A, B, C)
    world.produce()
    expect(Rejection.AUTHORITY_UNKNOWN, world.run(STRANGER, prove_votes(D)))


def test_who_leaves_can_still_be_convicted_in_the_same_block() -> None:
    world = make_authority_world(4)
    *_, outcome = world.produce(
        *(world.sign(voter, remove(D)) for voter in (A, B, C)),
        world.sign(STRANGER, prove_votes(D)),
    )
    assert outcome.events == (AuthorityConvicted(D.public, 0, 9),)
    world.produce()
    expect(Rejection.AUTHORITY_CONVICTED, vote(world, add(D), A)[0])


def test_who_has_just_joined_can_be_convicted() -> None:
    world = make_authority_world(1)
    added, convicted = world.produce(
        world.sign(A, add(B)), world.sign(STRANGER, prove_votes(B, epoch=7))
    )
    assert added.code == convicted.code == 0
    assert world.sets.following == make_set(1, [A])


def test_evidence_of_an_earlier_epoch_counts_while_the_key_is_in_the_set() -> None:
    world = make_authority_world(4)
    vote(world, add(E), A, B, C)
    for _ in range(3):
        world.produce()
    outcome = world.run(STRANGER, prove_proposals(B, epoch=0))
    assert outcome.events[-1] == AuthoritiesChanged(2, False, B.public, B.address)


@pytest.mark.parametrize("key", [A, B])
def test_what_proves_nothing_costs_its_fee_alone(key: Key) -> None:
    world = make_authority_world(4)
    honest = ConflictingBallots(
        cast(B, Ballot(VoteKind.NOTARIZE, 0, 1, A.public)),
        cast(B, Ballot(VoteKind.NULLIFY, 0, 1, bytes(32))),
    )
    elsewhere = ConflictingBallots(
        *(cast(B, Ballot(VoteKind.NOTARIZE, 0, 1, each.public), OTHER_CHAIN) for each in (A, B))
    )
    for conflict in (honest, elsewhere, prove_votes(C).conflict, prove_proposals(C).conflict):
        evidence = EquivocationEvidence(key.public, conflict)
        expect(Rejection.BAD_EVIDENCE, world.run(STRANGER, evidence))
    assert world.sets.following == make_set(0, [A, B, C, D])


# The whole


def test_no_money_moves_but_the_fees() -> None:
    world = make_authority_world(4)
    before = sum(world.get_balance(key) for key in world.balances)
    vote(world, add(E), A, B, C)
    world.run(STRANGER, prove_votes(D))
    world.produce()
    assert sum(world.get_balance(key) for key in world.balances) == before


def test_who_proposes_is_paid_by_the_set_in_force() -> None:
    world = make_authority_world(1)
    vote(world, add(B, STRANGER.address), A)
    world.produce()
    before = world.get_balance(STRANGER)
    outcome = vote(world, add(C), A)[0]
    assert decode_block(world.raw_blocks[-1]).header.proposer == B.public
    assert world.get_balance(STRANGER) == before + outcome.fee


def test_a_proposals_name_is_its_content() -> None:
    names = {
        compute_proposal_id(is_add, key, account)
        for is_add in (True, False)
        for key in (A.public, B.public)
        for account in (A.address, B.address)
    }
    assert len(names) == 8 and all(len(name) == 32 for name in names)
