"""An authority at work on its disk: every signature, acceptance and block in the order of C11.

The shipped store, mempool journal and vote journal, with nothing between them and the recorder, so
that each acknowledgement stands right behind what makes it true. Enough is written for the
write-ahead log to be copied into the database and begun again, and for the vote journal to be
rewritten many times; on the way everything is closed and opened again.
"""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from consensus.messages import (
    Certificate,
    FinalityProof,
    Proposal,
    Vote,
    encode_message,
)
from consensus.verification import Committee
from ledger import codec
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Authority, AuthoritySet, Block, compute_header_hash, decode_block
from ledger.keystore import sync_folder
from ledger.state import get_account
from ledger.transactions import Transfer, VerifiedTransaction
from ledger.transition import Executed, apply_block
from node.mempool import Mempool, Waiting
from node.mempool_journal import DatabaseJournal
from node.sqlcipher import get_raw
from node.vote_journal import VoteJournal
from tests.ledger.world import CHAIN, CLIENT, PROPOSER, World, make_key, make_world
from tests.node.stores import Follower, open_database, open_store
from tests.power.acknowledgements import (
    Accepted,
    Acknowledgement,
    BlockFinal,
    Created,
    Left,
    Witness,
)
from tests.power.checks import check_chain

BLOCKS: Final = 330
SHORT: Final = 24
PER_BLOCK: Final = 20
COMPACT_BYTES: Final = 12 * 1024
"""The journal's file is rewritten after each few blocks, as it otherwise is after thousands."""
COMMITTEE: Final = Committee(
    CHAIN, AuthoritySet(0, (Authority(PROPOSER.public, PROPOSER.address),))
)

# Variants that are bugs, which the checks must find (tests/power/seeded_bugs.py).
COMMITS_BEFORE_SIGNING: Final = "commits_before_signing"
ACKNOWLEDGES_BEFORE_COMMIT: Final = "acknowledges_before_commit"
ACCEPTS_BEFORE_COMMIT: Final = "accepts_before_commit"
SYNCS_AT_CHECKPOINTS: Final = "syncs_at_checkpoints"


class RunningAuthority:
    """What one process holds open, and how it gives its word."""

    def __init__(self, folder: Path, witness: Witness, variant: str) -> None:
        self._witness = witness
        self._variant = variant
        self._database = open_database(folder)
        if variant == SYNCS_AT_CHECKPOINTS:
            self._database.write_now(_sync_less)
        self._store = open_store(self._database)
        self._mempool = Mempool(50_000)
        self._rows = DatabaseJournal(self._database)
        self._rows.load(self._mempool, self._store.state, CHAIN)
        self._journal = VoteJournal(
            folder / "journal.bin",
            CHAIN,
            PROPOSER.seed,
            self._store.read_sign_sequence(),
            override=False,
            compact_bytes=COMPACT_BYTES,
        )

    async def work(self, world: World, blocks: Sequence[Block]) -> None:
        """Make blocks final, all but the last: that one's transactions are left waiting."""
        await self._accept(_verify(world, blocks[0]))
        for block, following in pairwise(blocks):
            # The next block's transactions arrive while this one is voted on.
            verified = _verify(world, following)
            halves = verified[: PER_BLOCK // 2], verified[PER_BLOCK // 2 :]
            await asyncio.gather(
                self._extend(world, block), *(self._accept(half) for half in halves)
            )

    def close(self) -> None:
        self._journal.close()
        self._store.close()
        self._database.close_now()

    async def _accept(self, transactions: list[VerifiedTransaction]) -> None:
        """Let transactions wait durably and say so; known ones are accepted as before."""
        transactions = [each for each in transactions if not self._mempool.has(each.id)]
        account = get_account(self._store.state, CLIENT.address)
        waiting = [
            self._mempool.reserve(CLIENT.address, each, account.nonce, account.balance)
            for each in transactions
        ]
        if self._variant == ACCEPTS_BEFORE_COMMIT:
            self._tell_accepted(waiting)
        await self._rows.append(waiting)
        self._tell_accepted(waiting)

    async def _extend(self, world: World, block: Block) -> None:
        """Propose a block, vote for it, store it, and say each thing once it is durable."""
        header, name = block.header, compute_header_hash(block.header)
        executed = apply_block(
            self._store.state, self._store.get_head(), block, _verify(world, block), world.rules
        )
        proposal = await asyncio.to_thread(self._journal.sign_proposal, header.view, block)
        self._tell_left(proposal)
        notarized = await self._vote(VoteKind.NOTARIZE, block, name)
        self._journal.keep_certificate(notarized)
        if self._variant == COMMITS_BEFORE_SIGNING:
            await self._commit(block, name, executed, notarized)
            await self._vote(VoteKind.FINALIZE, block, name)
        else:
            finalized = await self._vote(VoteKind.FINALIZE, block, name)
            await self._commit(block, name, executed, finalized)
        await asyncio.to_thread(self._journal.compact, header.epoch, header.view)

    async def _vote(self, kind: VoteKind, block: Block, name: bytes) -> Certificate:
        ballot = Ballot(kind, block.header.epoch, block.header.view, name)
        vote = await asyncio.to_thread(self._journal.sign_vote, ballot, None, 0)
        self._tell_left(vote)
        return Certificate(ballot, (0,), (vote.signature,))

    async def _commit(
        self, block: Block, name: bytes, executed: Executed, certificate: Certificate
    ) -> None:
        nonce = block.transactions[-1].nonce + 1
        taken = self._mempool.take_gone() + self._mempool.list_overtaken(CLIENT.address, nonce)
        final = BlockFinal(block.header.height, name)
        if self._variant == ACKNOWLEDGES_BEFORE_COMMIT:
            self._witness.tell(final)
        # The bug's number counts the signature that follows.
        sequence = self._journal.sequence + (self._variant == COMMITS_BEFORE_SIGNING)
        await self._store.commit(
            block,
            codec.encode(FinalityProof((), certificate)),
            executed.outcomes,
            executed.changes,
            self._rows.take_finished(taken),
            sequence,
        )
        self._mempool.settle_account(CLIENT.address, nonce)
        self._witness.tell(final)

    def _tell_left(self, message: Vote | Proposal) -> None:
        self._witness.tell(Left(encode_message(message)))

    def _tell_accepted(self, waiting: list[Waiting]) -> None:
        for each in waiting:
            self._witness.tell(Accepted(each.verified.id))


async def run(root: Path, variant: str) -> None:
    """Make a chain's database and work on it; all variants but the whole are short."""
    folder = root / "node"
    folder.mkdir()
    sync_folder(root)
    witness = Witness(root)
    world = make_chain(BLOCKS if variant == "whole" else SHORT)
    blocks = [decode_block(raw) for raw in world.raw_blocks]
    await Follower(folder, World(world.balances, world.rules)).close()
    witness.tell(Created())
    middle = len(blocks) * 5 // 6
    for part in (blocks[: middle + 1], blocks[middle:]):
        authority = RunningAuthority(folder, witness, variant)
        await authority.work(world, part)
        authority.close()


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open an image. Raises what the shipped code raises, and `AssertionError`."""
    if not acknowledged:
        return
    folder = image / "node"
    database = open_database(folder)
    try:
        check_chain(database, COMMITTEE, folder / "journal.bin", PROPOSER.seed, acknowledged)
    finally:
        database.close_now()


def make_chain(count: int) -> World:
    """Return a world with blocks of transfers."""
    world = make_world()
    for number in range(count):
        keys = (make_key(100 + (number * 7 + index * 37) % 400) for index in range(PER_BLOCK))
        world.produce(*(world.sign(CLIENT, Transfer(key.address, 1 + number)) for key in keys))
    return world


def _verify(world: World, block: Block) -> list[VerifiedTransaction]:
    return [world.verify(transaction) for transaction in block.transactions]


def _sync_less(connection: Connection) -> None:
    """Let the writer's connection sync its log at checkpoints alone; the engine has a word for it.

    It cannot be changed inside a transaction, so the one that surrounds this is ended and begun.
    """
    raw = get_raw(connection)
    raw.execute("commit")
    raw.execute("pragma synchronous=normal")
    raw.execute("begin immediate")
    raw.execute("savepoint work")
