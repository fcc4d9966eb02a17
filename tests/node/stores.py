"""A store that follows an in-memory chain block by block, and the checks that two of them agree."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ledger import state_tree
from ledger.blocks import Block, decode_block
from ledger.codec import encode
from ledger.state import Changes, MemoryState
from ledger.transactions import verify_transaction
from ledger.transition import apply_block
from node.chain_store import ChainStore
from node.database import Database
from node.stored_state import StoredState
from node.tables import CHAIN_TABLES
from tests.ledger.world import CHAIN, World, copy_state

KEY = bytes(range(32))
SMALL = 64
"""Pairs in a chunk of an index, so that a few blocks fill it."""


def hash_folder(folder: Path) -> dict[str, tuple[str, int]]:
    """Return each file's content hash and mode: equal before and after, nothing was touched."""
    return {
        path.name: (sha256(path.read_bytes()).hexdigest(), path.stat().st_mode)
        for path in sorted(folder.iterdir())
    }


def create_database(folder: Path, key: bytes | None = KEY) -> Database:
    return Database.create(folder / "node.db", key, tables=[CHAIN_TABLES], is_dev=key is None)


def open_database(folder: Path, key: bytes | None = KEY) -> Database:
    return Database.open(folder / "node.db", key, tables=[CHAIN_TABLES], is_dev=key is None)


def open_store(database: Database) -> ChainStore:
    return ChainStore(database, CHAIN, segment_pairs=SMALL, chunk_entries=SMALL)


def compute_whole_root(state: StoredState) -> bytes:
    """Return the root of a state computed from its entries alone."""
    count = state.get_leaf_count()
    leaves = [
        (leaf, state_tree.hash_leaf(key, value)) for leaf, key, value in state.iterate_entries()
    ]
    assert [leaf for leaf, _ in leaves] == list(range(count))
    root, nodes = state_tree.update_tree(lambda level, index: None, 0, count, leaves)
    for (level, index), node in nodes.items():
        assert state.get_node(level, index) == node
    return root


@dataclass
class Follower:
    """Commits the blocks of a world, with the world's rules, to a store in a folder."""

    folder: Path
    world: World
    key: bytes | None = KEY
    database: Database = field(init=False)
    store: ChainStore = field(init=False)
    followed: int = 0

    def __post_init__(self) -> None:
        assert self.world.head.height == 0, "a follower begins with the chain"
        self.database = create_database(self.folder, self.key)
        changes = Changes(MemoryState())
        for key in sorted(self.world.state.leaves, key=self.world.state.leaves.__getitem__):
            changes.put(key, self.world.state.entries[key])
        assert changes.compute_root() == self.world.genesis.state_root
        ChainStore.initialise(self.database, Block(self.world.genesis, ()), changes)
        self.store = open_store(self.database)

    async def follow(self) -> None:
        """Apply and commit what the world has produced meanwhile."""
        for raw in self.world.raw_blocks[self.followed :]:
            block = decode_block(raw)
            verified = [
                verify_transaction(transaction, encode(transaction), CHAIN)
                for transaction in block.transactions
            ]
            executed = apply_block(
                self.store.state, self.store.get_head(), block, verified, self.world.rules
            )
            await self.store.commit(block, b"proof", executed.outcomes, executed.changes)
            self.followed += 1

    async def restart(self) -> None:
        await self.close()
        self.database = open_database(self.folder, self.key)
        self.store = open_store(self.database)

    async def close(self) -> None:
        self.store.close()
        await self.database.close()

    def check(self) -> None:
        """The store's state is the world's, in every way that a view can be asked."""
        state, memory = self.store.state, copy_state(self.world.state)
        assert self.store.get_head() == self.world.head
        assert state.get_leaf_count() == memory.get_leaf_count()
        for key, entry in memory.entries.items():
            assert state.get(key) == entry
            assert state.get_leaf(key) == memory.get_leaf(key)
        late = self.world.clock + 10**9
        assert state.get_due_jobs(late, 10**6) == self.world.state.get_due_jobs(late, 10**6)
        assert compute_whole_root(state) == self.world.head.state_root
