"""A chain from a genesis document, with finality proofs of several authorities, and its stores.

Blocks are those of `tests.ledger.world`; the quorum's signatures under them are real.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consensus.messages import Certificate, FinalityProof
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from genesis.state import build_genesis_state
from ledger import crypto
from ledger.ballots import Ballot, VoteKind, compute_vote_bytes
from ledger.blocks import Authority, Header, compute_header_hash, decode_block
from ledger.codec import encode
from ledger.context import Rules
from ledger.parameters import Parameters
from ledger.quorum import compute_quorum
from ledger.state import MemoryState
from ledger.transactions import AuthorityVote, Transfer, verify_transaction
from ledger.transition import apply_block
from node import folder
from node.chain_store import ChainStore
from node.database import Database
from node.settings import load_settings
from tests.ledger.world import AIT, CLIENT, MINER, START, Key, World, make_key, verify_stand_in
from zk.devkey import load_dev_verifying_key

MEMBERS = tuple(make_key(number) for number in range(700, 704))
JOINER = make_key(800)
IDLE = 600
"""Accounts that nothing touches, so that a state has several pieces."""


def make_genesis(idle: int = IDLE) -> Genesis:
    key = load_dev_verifying_key()
    funded = [Allocation(each.address, 1_000 * AIT) for each in (CLIENT, MINER, *MEMBERS, JOINER)]
    idlers = [Allocation(number.to_bytes(20, "big"), 1) for number in range(1, idle + 1)]
    return Genesis(
        name="signed-chain",
        is_dev=True,
        time=START,
        parameters=Parameters(),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=tuple(Authority(each.public, each.address) for each in MEMBERS),
        allocations=tuple(funded + idlers),
    )


class SignedChain:
    """Grows a chain in memory; `follow` brings a store to its head."""

    def __init__(self, idle: int = IDLE) -> None:
        self.genesis = make_genesis(idle)
        chain_id = compute_chain_id(self.genesis)
        rules = Rules(chain_id, self.genesis.parameters, self.genesis.proof, verify_stand_in)
        self.world = World({CLIENT: 1}, rules)
        block, changes = build_genesis_state(self.genesis)
        state = changes.base
        assert isinstance(state, MemoryState)
        state.commit(changes)
        self.world.state = state
        self.world.head = self.world.genesis = block.header
        self.certificates: list[bytes] = []
        self._seeds = {each.public: each.seed for each in (*MEMBERS, JOINER)}

    @property
    def head(self) -> Header:
        return self.world.head

    def transfer(self, count: int) -> None:
        """Add so many blocks, each with one transfer to an account of its own."""
        for _ in range(count):
            self.grow((CLIENT, Transfer(make_key(5_000 + self.head.height).address, AIT)))

    def grow(self, *payloads: tuple[Key, Transfer | AuthorityVote]) -> None:
        """Add a block of these transactions, final by a quorum."""
        with self.certifying():
            self.world.produce(*(self.world.sign(key, payload) for key, payload in payloads))

    @contextmanager
    def certifying(self) -> Iterator[None]:
        """Make the blocks that the world gains meanwhile final, all by one set."""
        members = self.world.sets.current.members
        yield
        for raw in self.world.raw_blocks[len(self.certificates) :]:
            self._certify(decode_block(raw).header, members)

    def _certify(self, header: Header, members: tuple[Authority, ...]) -> None:
        ballot = Ballot(VoteKind.FINALIZE, header.epoch, header.view, compute_header_hash(header))
        signers = tuple(range(compute_quorum(len(members))))
        message = compute_vote_bytes(header.chain_id, ballot)
        signatures = tuple(crypto.sign(self._seeds[members[n].key], message) for n in signers)
        self.certificates.append(
            encode(FinalityProof((), Certificate(ballot, signers, signatures)))
        )

    def change_authorities(self, *, is_add: bool) -> None:
        """Let the joiner join or leave: the votes in one block, the next one closes the epoch."""
        vote = AuthorityVote(is_add, JOINER.public, JOINER.address)
        self.grow(*((member, vote) for member in MEMBERS))
        self.grow()

    def replay(self, raw: bytes, certificate: bytes) -> None:
        """Take over the next block of another chain that begins alike."""
        block = decode_block(raw)
        executed = self.world.apply(block)
        self.world.state.commit(executed.changes)
        self.world.head = block.header
        self.world.raw_blocks.append(raw)
        self.certificates.append(certificate)

    async def follow(self, store: ChainStore) -> None:
        """Apply and commit every block that the store lacks."""
        first = store.get_head().height
        for raw, certificate in zip(
            self.world.raw_blocks[first:], self.certificates[first:], strict=True
        ):
            block = decode_block(raw)
            chain_id = block.header.chain_id
            verified = [
                verify_transaction(each, encode(each), chain_id) for each in block.transactions
            ]
            executed = apply_block(store.state, store.get_head(), block, verified, self.world.rules)
            await store.commit(block, certificate, executed.outcomes, executed.changes)

    def create_folder(self, data: Path, seed: bytes = MEMBERS[0].seed) -> Path:
        folder.create_folder(data, dump_genesis(self.genesis), seed)
        return data


class OpenStore:
    """The store in a node's folder, open for the length of a `with`."""

    def __init__(self, data: Path, chunk_entries: int = 256) -> None:
        self._data = data
        self._chunk_entries = chunk_entries
        self._database: Database | None = None

    def __enter__(self) -> ChainStore:
        genesis = folder.open_genesis(self._data)
        self._database = folder.open_database(load_settings(data=self._data), genesis)
        self._store = ChainStore(
            self._database,
            compute_chain_id(genesis),
            segment_pairs=self._chunk_entries,
            chunk_entries=self._chunk_entries,
        )
        return self._store

    def __exit__(self, *_: object) -> None:
        assert self._database is not None
        self._store.close()
        self._database.close_now()


async def make_node(data: Path, chain: SignedChain, chunk_entries: int = 256) -> Path:
    """Make a node's folder that holds the whole chain so far."""
    chain.create_folder(data)
    with OpenStore(data, chunk_entries) as store:
        await chain.follow(store)
    return data
