import msgspec
import pytest

from ledger import crypto
from ledger.ballots import (
    NO_BLOCK,
    Ballot,
    Conflict,
    ConflictingBallots,
    ConflictingProposals,
    ProposedBlock,
    SignedBallot,
    VoteKind,
    compute_proposal_bytes,
    compute_vote_bytes,
    find_fault,
    is_conflict,
    is_well_formed,
)
from tests.ledger.world import CHAIN, CLIENT, MINER, OTHER_CHAIN, Key

A, B = b"\x0a" * 32, b"\x0b" * 32
NOTARIZE, NULLIFY, FINALIZE = VoteKind


def make_ballot(kind: VoteKind, view: int, block_hash: bytes = NO_BLOCK, epoch: int = 0) -> Ballot:
    return Ballot(kind, epoch, view, block_hash)


def cast(ballot: Ballot, key: Key = CLIENT, chain: bytes = CHAIN) -> SignedBallot:
    return SignedBallot(ballot, crypto.sign(key.seed, compute_vote_bytes(chain, ballot)))


def propose(block_hash: bytes, view: int = 1, epoch: int = 0, key: Key = CLIENT) -> ProposedBlock:
    message = compute_proposal_bytes(CHAIN, epoch, view, block_hash)
    return ProposedBlock(block_hash, crypto.sign(key.seed, message))


def test_each_field_changes_what_is_signed() -> None:
    base = make_ballot(NOTARIZE, 5, b"\x01" * 32)
    signed = {
        compute_vote_bytes(CHAIN, base),
        compute_vote_bytes(bytes(32), base),
        compute_vote_bytes(CHAIN, msgspec.structs.replace(base, kind=FINALIZE)),
        compute_vote_bytes(CHAIN, msgspec.structs.replace(base, epoch=1)),
        compute_vote_bytes(CHAIN, msgspec.structs.replace(base, view=6)),
        compute_vote_bytes(CHAIN, msgspec.structs.replace(base, block_hash=NO_BLOCK)),
    }
    assert len(signed) == 6


def test_every_pair_of_ballots_of_a_view() -> None:
    ballots = {
        "notarize A": make_ballot(NOTARIZE, 1, A),
        "notarize B": make_ballot(NOTARIZE, 1, B),
        "nullify": make_ballot(NULLIFY, 1),
        "finalize A": make_ballot(FINALIZE, 1, A),
        "finalize B": make_ballot(FINALIZE, 1, B),
    }
    guilty = {
        frozenset({"notarize A", "notarize B"}),
        frozenset({"finalize A", "finalize B"}),
        frozenset({"nullify", "finalize A"}),
        frozenset({"nullify", "finalize B"}),
    }
    for first, one in ballots.items():
        for second, other in ballots.items():
            assert is_conflict(one, other) == (frozenset({first, second}) in guilty)


def test_other_views_and_epochs_never_conflict() -> None:
    for other in (make_ballot(NOTARIZE, 2, B), make_ballot(NOTARIZE, 1, B, epoch=1)):
        assert not is_conflict(make_ballot(NOTARIZE, 1, A), other)


def test_a_nullify_alone_names_no_block() -> None:
    for kind in VoteKind:
        assert is_well_formed(make_ballot(kind, 1)) == (kind is NULLIFY)
        assert is_well_formed(make_ballot(kind, 1, A)) == (kind is not NULLIFY)


GUILTY: dict[str, Conflict] = {
    "two notarize": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 1, B))
    ),
    "two finalize": ConflictingBallots(
        cast(make_ballot(FINALIZE, 1, A)), cast(make_ballot(FINALIZE, 1, B))
    ),
    "nullify and finalize": ConflictingBallots(
        cast(make_ballot(NULLIFY, 1)), cast(make_ballot(FINALIZE, 1, A))
    ),
    "two proposals": ConflictingProposals(0, 1, propose(A), propose(B)),
}


@pytest.mark.parametrize("name", GUILTY)
def test_both_signatures_convict_their_key_alone(name: str) -> None:
    conflict = GUILTY[name]
    assert find_fault(conflict, CLIENT.public, CHAIN) == (0, 1)
    swapped = msgspec.structs.replace(conflict, first=conflict.second, second=conflict.first)
    assert find_fault(swapped, CLIENT.public, CHAIN) == (0, 1)
    assert find_fault(conflict, MINER.public, CHAIN) is None
    assert find_fault(conflict, CLIENT.public, OTHER_CHAIN) is None
    for part in ("first", "second"):
        forged = msgspec.structs.replace(getattr(conflict, part), signature=bytes(64))
        changed = msgspec.structs.replace(conflict, **{part: forged})
        assert find_fault(changed, CLIENT.public, CHAIN) is None


HONEST: dict[str, Conflict] = {
    "notarize and nullify": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NULLIFY, 1))
    ),
    "notarize and finalize": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(FINALIZE, 1, B))
    ),
    "the same twice": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 1, A))
    ),
    "two views": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 2, B))
    ),
    "two epochs": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 1, B, epoch=1))
    ),
    "a nullify that names a block": ConflictingBallots(
        cast(make_ballot(NULLIFY, 1)), cast(make_ballot(NULLIFY, 1, A))
    ),
    "a notarize that names none": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1)), cast(make_ballot(NOTARIZE, 1, A))
    ),
    "one block proposed twice": ConflictingProposals(0, 1, propose(A), propose(A)),
    "proposals of two views": ConflictingProposals(0, 1, propose(A), propose(B, view=2)),
    "proposals of two epochs": ConflictingProposals(0, 1, propose(A), propose(B, epoch=1)),
    "another's proposal": ConflictingProposals(0, 1, propose(A), propose(B, key=MINER)),
    "another's vote": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 1, B), MINER)
    ),
    "a vote on another chain": ConflictingBallots(
        cast(make_ballot(NOTARIZE, 1, A)), cast(make_ballot(NOTARIZE, 1, B), chain=OTHER_CHAIN)
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_nothing_else_convicts(name: str) -> None:
    assert find_fault(HONEST[name], CLIENT.public, CHAIN) is None


def test_a_vote_is_no_proposal() -> None:
    vote = cast(make_ballot(NOTARIZE, 1, B))
    conflict = ConflictingProposals(0, 1, propose(A), ProposedBlock(B, vote.signature))
    assert find_fault(conflict, CLIENT.public, CHAIN) is None
