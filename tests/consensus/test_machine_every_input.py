"""Every input is answered in every state, however senseless: no exception, no endless memory.

The walks are random but seeded. The verified types are made here without signatures, so a walk
also meets what more than f byzantine authorities could sign.
"""

from random import Random
from typing import get_args

import pytest

from consensus import inputs
from consensus.block_tree import FinalHead
from consensus.effects import Effect, Stop, Timer
from consensus.machine import Consensus
from consensus.messages import Certificate, CertificateRequest, Proposal, Vote
from consensus.restored import Restored
from consensus.timing import Timing
from consensus.verification import (
    CheckedRequest,
    VerifiedBlock,
    VerifiedCertificate,
    VerifiedProposal,
    VerifiedVote,
)
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from ledger.blocks import Block, compute_header_hash
from tests.consensus.network import GENESIS, get_key, make_block, make_child, make_committee

SIGNATURE = bytes(64)
WALKS = 400
STEPS = 80


def make_blocks(size: int) -> list[Block]:
    """Return a small tree of blocks, one of them the last of its epoch."""
    committee = make_committee(size)
    first, second = make_block(committee), make_block(committee, view=2, time=9)
    child, fork = make_child(committee, first, 2), make_child(committee, second, 4)
    closing = make_block(
        committee,
        2,
        3,
        compute_header_hash(first.header),
        1,
        next_authorities=make_committee(size, epoch=1).authorities_hash,
    )
    return [first, second, child, fork, closing, make_child(committee, closing, 5)]


class Walk:
    """A source of arbitrary inputs for a committee of `size`."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.size = self.random.choice((1, 2, 4, 4, 7))
        self.blocks = make_blocks(self.size)
        self.hashes = [compute_header_hash(block.header) for block in self.blocks]
        self.now = self.random.randint(0, 10**6)
        self.requested = 1

    def make_machine(self) -> Consensus:
        random = self.random
        me = random.choice((None, 0, 0, self.size - 1))
        key = None if me is None else get_key(me)
        votes: tuple[Vote, ...] = ()
        if me is not None and random.random() < 0.3:
            votes = tuple(Vote(self.make_ballot(), me, SIGNATURE) for _ in range(3))
        restored = Restored(
            FinalHead(GENESIS, 0, 0),
            votes,
            (self.make_proposal(),) if random.random() < 0.3 else (),
            (self.make_certificate(),) if random.random() < 0.3 else (),
            is_wiped=random.random() < 0.3,
        )
        return Consensus(make_committee(self.size), key, Timing(), restored)

    def make_ballot(self) -> Ballot:
        random = self.random
        kind = random.choice(list(VoteKind))
        view = random.choice((0, 1, 1, 2, 2, 3, 4, 5, 6, 40, 2**62))
        named = random.choice(self.hashes)
        epoch = random.choice((0, 0, 0, 0, 1))
        return Ballot(kind, epoch, view, NO_BLOCK if kind is VoteKind.NULLIFY else named)

    def make_certificate(self) -> Certificate:
        first = self.random.choice((0, 0, 1)) if self.size > 1 else 0
        signers = tuple(range(first, self.size))
        return Certificate(self.make_ballot(), signers, (SIGNATURE,) * len(signers))

    def make_proposal(self) -> VerifiedProposal:
        index = self.random.randrange(len(self.blocks))
        block = self.blocks[index]
        view = block.header.view + (self.random.randint(0, 3) if index == 4 else 0)
        return VerifiedProposal(Proposal(view, block, SIGNATURE), self.hashes[index])

    def make_input(self) -> inputs.Input:
        random = self.random
        self.now += random.choice((0, 0, 1, 30, 250, 800, 11_000))
        now, index = self.now, random.randrange(len(self.blocks))
        signer = random.randrange(self.size)
        first, last = sorted(random.randint(0, 90) for _ in range(2))
        epoch = random.choice((0, 1))
        head = FinalHead(
            self.hashes[index],
            self.blocks[index].header.height,
            self.blocks[index].header.view,
            random.choice((None, self.make_certificate())),
            index == 4,
        )
        return random.choice(
            (
                inputs.Connected(now),
                inputs.TimerFired(now, random.choice(list(Timer))),
                inputs.VoteReceived(now, VerifiedVote(Vote(self.make_ballot(), signer, SIGNATURE))),
                inputs.VoteReceived(now, VerifiedVote(Vote(self.make_ballot(), signer, SIGNATURE))),
                inputs.ProposalReceived(now, self.make_proposal()),
                inputs.CertificateReceived(now, VerifiedCertificate(self.make_certificate())),
                inputs.CertificatesRequested(
                    now, signer, CheckedRequest(CertificateRequest(epoch, first, last))
                ),
                inputs.BlockReceived(now, VerifiedBlock(self.blocks[index], self.hashes[index])),
                inputs.ProposalBuilt(
                    now, random.randint(0, 6), random.choice((None, self.blocks[index]))
                ),
                inputs.BlockValidated(
                    now, self.hashes[index], random.random() < 0.8, random.random() < 0.5
                ),
                inputs.WorkKnown(now, random.random() < 0.7),
                inputs.ChainAdvanced(now, head),
                inputs.EpochOpened(now, make_committee(self.size, epoch=epoch).authorities),
            )
        )


def test_walks_cover_every_input() -> None:
    walk = Walk(0)
    kinds = {type(walk.make_input()) for _ in range(500)} | {inputs.Started}
    assert kinds == set(get_args(inputs.Input))


@pytest.mark.parametrize("first", range(0, WALKS, 100))
def test_every_input_is_answered(first: int) -> None:
    seen: set[type[Effect]] = set()
    for seed in range(first, first + 100):
        walk = Walk(seed)
        machine = walk.make_machine()
        is_stopped = False
        for step in range(STEPS):
            started = inputs.Started(walk.now, walk.random.random() < 0.7)
            item = walk.make_input() if step else started
            view, height = machine.view, machine.tree.final.height
            answer = machine.handle(item)
            assert not (is_stopped and answer)
            kinds = {type(effect) for effect in answer}
            assert kinds <= set(get_args(Effect))
            assert machine.view >= view or inputs.EpochOpened is type(item)
            assert machine.tree.final.height >= height
            is_stopped = is_stopped or Stop in kinds
            seen |= kinds
    assert len(seen) >= 10
