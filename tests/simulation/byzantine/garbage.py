"""An authority that sends what is no message, no certificate and no block."""

from collections.abc import Callable

import msgspec

from consensus.messages import Certificate, CommittedBlock, Proposal, Vote, encode_message
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block
from tests.simulation.byzantine.dishonest import DishonestNode

_BOMBS = (
    b"",
    b"\x91" * 100_000,
    b"\x91\xdd\xff\xff\xff\xff",
    b"\x91\xc6\xff\xff\xff\xff\x00",
    b"\x91\x94\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00",
)


class Garbage(DishonestNode):
    """Does its part, beside random, cut, mutated and forged bytes; serves forged blocks."""

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        super().sign_vote(ballot, proposal)
        vote = self.make_vote(ballot)
        for node in self.get_others():
            self.whisper(node, self._spoil(encode_message(vote)))
            self.whisper(node, encode_message(self._forge(vote)))

    def serve_block(self, block_hash: bytes) -> Block | None:
        block = super().serve_block(block_hash)
        return None if block is None else self._falsify(block)

    def serve_range(self, first: int, end: int) -> list[CommittedBlock]:
        blocks = super().serve_range(first, end)
        return [
            msgspec.structs.replace(committed, block=self._falsify(committed.block))
            for committed in blocks
        ]

    def _spoil(self, data: bytes) -> bytes:
        random = self.random
        spoilt = bytearray(data)
        spoilt[random.randrange(len(data))] ^= 1 << random.randrange(8)
        ways: tuple[Callable[[], bytes], ...] = (
            lambda: bytes(spoilt),
            lambda: data[: random.randrange(len(data))],
            lambda: data + bytes(random.randint(1, 9)),
            lambda: random.randbytes(random.randint(1, 400)),
            lambda: random.choice(_BOMBS),
        )
        return random.choice(ways)()

    def _forge(self, vote: Vote) -> Vote | Certificate:
        size = self.machine.committee.size
        quorum = self.machine.committee.quorum
        final = msgspec.structs.replace(vote.ballot, kind=VoteKind.FINALIZE)
        signature = vote.signature if final == vote.ballot else self.make_vote(final).signature
        ways: tuple[Callable[[], Vote | Certificate], ...] = (
            # Its own vote in the name of another.
            lambda: msgspec.structs.replace(vote, signer=(vote.signer + 1) % size),
            # A certificate of itself alone, of itself many times, and in the name of all.
            lambda: Certificate(final, (vote.signer,), (signature,)),
            lambda: Certificate(final, (vote.signer,) * quorum, (signature,) * quorum),
            lambda: Certificate(final, tuple(range(size)), (signature,) * size),
        )
        return self.random.choice(ways)()

    def _falsify(self, block: Block) -> Block:
        header = msgspec.structs.replace(block.header, state_root=self.random.randbytes(32))
        return Block(header, block.transactions)
