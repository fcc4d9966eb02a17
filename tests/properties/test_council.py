"""Random votes and evidence, honest and hostile, over many epochs: `council` is the oracle."""

from collections import Counter
from random import Random

import pytest

from ledger import blocks
from ledger.ballots import Ballot, ConflictingBallots, VoteKind
from ledger.blocks import decode_block
from ledger.parameters import Parameters
from ledger.rejection import Rejection
from ledger.transactions import AuthorityVote, EquivocationEvidence, Payload
from ledger.transition import apply_block
from tests.ledger.authorities import (
    AUTHORITIES,
    cast,
    make_authority_world,
    prove_proposals,
    prove_votes,
)
from tests.ledger.world import CLIENT, STRANGER, Key, World, copy_state
from tests.properties.checks import find_state_violations
from tests.properties.council import Change, Council

VALIDITY = 6
AUTHORITY_REJECTIONS = frozenset(code for code in Rejection if 160 <= code < 170)


class Session:
    """A chain with an open block, and the oracle beside it."""

    def __init__(self, size: int, seen: Counter[int], oracle: type[Council] = Council) -> None:
        self.world: World = make_authority_world(size, Parameters(vote_validity=VALIDITY))
        self.first_state = copy_state(self.world.state)
        self.supply = sum(self.world.balances.values())
        self.council = oracle(AUTHORITIES[:size], VALIDITY)
        self.seen = seen
        self._open()

    def _open(self) -> None:
        self.execution = self.world.open()
        self.transactions: list[object] = []
        self.council.begin(self.execution.context.height)
        self._check()

    def close(self) -> None:
        self.world.close(self.execution, self.transactions)  # type: ignore[arg-type]
        head, sets = self.world.head, self.world.sets
        is_closing = head.authorities != head.next_authorities
        assert head.epoch == sets.current.epoch - is_closing
        assert find_state_violations(self.world.state.entries, self.supply) == []
        self._open()

    def vote(self, sender: Key, payload: AuthorityVote) -> None:
        change = (payload.is_add, payload.key, payload.account)
        self._apply(sender, payload, self.council.expect_vote(sender.public, change))

    def accuse(self, sender: Key, payload: EquivocationEvidence, is_proof: bool) -> None:
        expected = self.council.expect_evidence(payload.offender, is_proof)
        self._apply(sender, payload, expected)

    def _apply(self, sender: Key, payload: Payload, expected: int) -> None:
        account = self.execution.changes.get(b"a" + sender.address)
        verified = self.world.sign(sender, payload, nonce=account.nonce)  # type: ignore[union-attr]
        outcome = self.execution.apply(verified)
        assert outcome.code == expected, (payload, outcome, expected)
        self.transactions.append(verified)
        self.seen[outcome.code] += 1
        self.seen.update(type(event).__name__ for event in outcome.events)  # type: ignore[misc]
        self._check()

    def _check(self) -> None:
        assert self.council.find_differences(self.execution.changes) == []
        keys = [key for key, _ in self.council.following]
        assert len(set(keys)) == len(keys) >= 1
        assert self.council.convicted.isdisjoint(keys)

    def check_replay(self) -> None:
        """Replay the stored bytes from the first state: every entry, leaf and node is the same."""
        state, head = self.first_state, self.world.genesis
        for raw in self.world.raw_blocks:
            block = decode_block(raw)
            verified = [self.world.verify(transaction) for transaction in block.transactions]
            state.commit(apply_block(state, head, block, verified, self.world.rules).changes)
            head = block.header
        live = self.world.state
        assert blocks.compute_header_hash(head) == blocks.compute_header_hash(self.world.head)
        assert (state.entries, state.leaves) == (live.entries, live.leaves)
        assert state.nodes == live.nodes


def pick_change(session: Session, random: Random) -> AuthorityVote:
    """Return what is voted on already, most of the time, or something new, possible or not."""
    council = session.council
    if council.ballot_box and random.random() < 0.6:
        return AuthorityVote(*random.choice(list(council.ballot_box)))
    other = random.choice(AUTHORITIES)
    account = random.choice([other.address, other.address, CLIENT.address])
    if random.random() < 0.03:
        return AuthorityVote(True, bytes(32), account)
    if random.random() < 0.5:
        return AuthorityVote(True, other.public, account)
    key, own = random.choice(council.following)
    return AuthorityVote(False, key, random.choice([own, own, account]))


def accuse_at_random(session: Session, random: Random) -> None:
    offender, sender = random.choice(AUTHORITIES), random.choice([STRANGER, *AUTHORITIES])
    epoch, view = random.randrange(4), random.randrange(9)
    if random.random() < 0.5:
        ballots = [
            Ballot(VoteKind.NOTARIZE, epoch, view, bytes([1]) * 32),
            random.choice([
                Ballot(VoteKind.NULLIFY, epoch, view, bytes(32)),
                Ballot(VoteKind.FINALIZE, epoch, view, bytes([2]) * 32),
                Ballot(VoteKind.NOTARIZE, epoch, view + 1, bytes([2]) * 32),
            ]),
        ]  # fmt: skip
        honest = ConflictingBallots(*(cast(offender, ballot) for ballot in ballots))
        session.accuse(sender, EquivocationEvidence(offender.public, honest), False)
    else:
        prove = random.choice([prove_votes, prove_proposals])
        session.accuse(sender, prove(offender, epoch, view), True)


def run_at_random(session: Session, random: Random, steps: int) -> None:
    for _ in range(steps):
        match random.choices(("vote", "flood", "evidence", "close"), (70, 1, 2, 12))[0]:
            case "vote":
                voters = [key for key in AUTHORITIES if random.random() < 0.4] or [CLIENT]
                payload = pick_change(session, random)
                for voter in voters:
                    session.vote(voter, payload)
            case "flood":
                voter, other = random.choice(AUTHORITIES), random.choice(AUTHORITIES)
                for number in range(random.randrange(36)):
                    account = number.to_bytes(20, "big")
                    session.vote(voter, AuthorityVote(True, other.public, account))
            case "evidence":
                accuse_at_random(session, random)
            case _:
                session.close()
    session.close()
    session.check_replay()


@pytest.mark.parametrize("size", range(1, 8))
def test_no_sequence_of_votes_and_evidence_breaks_a_rule(size: int) -> None:
    for seed in range(3):
        run_at_random(Session(size, Counter()), Random(seed * 10 + size), 60)


def test_random_sequences_reach_every_event_and_refusal() -> None:
    """The seeds are the same each time, so what the runs reach can be asked for."""
    seen: Counter[int] = Counter()
    for seed in range(8):
        session = Session(1 + seed, seen)
        run_at_random(session, Random(seed), 120)
        assert session.council.epoch > 2
    # Member 101 has a test of its own.
    assert {code for code in AUTHORITY_REJECTIONS if not seen[code]} == {
        Rejection.AUTHORITY_SET_FULL
    }
    assert all(seen[name] for name in EVENTS)  # type: ignore[index]


class NeverExpires(Council):
    """Takes every vote to be good for ever."""

    def begin(self, height: int) -> None:
        self._closes = dict.fromkeys(self._closes, height + VALIDITY)
        super().begin(height)


class ForgetsConvictions(Council):
    """Lets a convict come back."""

    def expect_evidence(self, offender: bytes, is_proof: bool) -> int:
        code = super().expect_evidence(offender, is_proof)
        self.convicted.clear()
        return code


class ChangesAtOnce(Council):
    """Puts a set in force in the block that made it."""

    def expect_vote(self, sender: bytes, change: Change) -> int:
        code = super().expect_vote(sender, change)
        self.current = list(self.following)
        return code


class BelievesAnything(Council):
    """Convicts by statements that prove nothing."""

    def expect_evidence(self, offender: bytes, is_proof: bool) -> int:
        return super().expect_evidence(offender, True)


@pytest.mark.parametrize(
    "oracle", [NeverExpires, ForgetsConvictions, ChangesAtOnce, BelievesAnything]
)
def test_a_rule_taken_otherwise_is_noticed(oracle: type[Council]) -> None:
    """What one side alone does otherwise, be it the oracle, ends the run."""
    with pytest.raises(AssertionError):
        for seed in range(6):
            run_at_random(Session(4, Counter(), oracle), Random(seed), 120)


EVENTS = ("AuthorityVoted", "AuthoritiesChanged", "AuthorityConvicted")
