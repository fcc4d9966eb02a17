"""The chain in the database: one transaction for each final block, and the questions about it.

Block, finality proof, outcomes, state and the mempool rows that the block used up are durable
together or not at all.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import sqlcipher3
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from consensus.light_client import Succession
from consensus.messages import decode_finality
from coordinator.ports import FinalBlock
from ledger import codec, state_tree
from ledger.blocks import Block, Header, compute_header_hash
from ledger.entries import Job, job_key
from ledger.outcomes import Outcome
from ledger.rejection import Rejected
from ledger.state import Changes, get_authorities
from ledger.state_tree import StateProof
from node import block_rows, chain_base, mempool_rows, stored_state
from node.chain_history import ChainHistory
from node.database import Database
from node.database_errors import DatabaseDamaged, DatabaseExists, WrongChain
from node.history_index import SEGMENT_PAIRS, HistoryIndex, drop_unfinished
from node.history_terms import compute_terms
from node.sorted_tail import Batch
from node.sqlcipher import get_raw
from node.stored_state import CACHE_KIB, CHUNK_ENTRIES, StoredState

_PAIRS_PER_OUTCOME: Final = 4
"""Index pairs of an outcome, about: its id, two accounts and a job."""
_BLOCKS_PER_STEP: Final = 64


class ChainStore:
    """The final chain. One commit at a time, from the event loop; reads from anywhere."""

    def __init__(
        self,
        database: Database,
        chain_id: bytes,
        *,
        segment_pairs: int = SEGMENT_PAIRS,
        chunk_entries: int = CHUNK_ENTRIES,
    ) -> None:
        """Read the head and rebuild what is kept in memory.

        Raises `DatabaseDamaged`, also without a block 0, and `WrongChain` for another chain's.
        """
        self.database = database
        self._is_committing = False
        with naming_damage(database.path):
            self._head, self._head_hash = self._read_head(chain_id)
            self.base_height = database.read_now(
                lambda connection: chain_base.read_base_height(get_raw(connection))
            )
            """Height of the first block that is here; above 0 the store began with a snapshot."""
            database.write_now(lambda connection: drop_unfinished(get_raw(connection)))
            self.state = StoredState(database.connect_reader(CACHE_KIB), chunk_entries)
            if self.state.recovered_root not in (None, self._head.state_root):
                raise DatabaseDamaged(f"the state in {database.path} is not its newest block's")
            self._index = database.read_now(
                lambda connection: HistoryIndex(get_raw(connection), segment_pairs)
            )
            self.history = ChainHistory(database, self._index, self.state)
            for block in self.iterate_blocks(self._index.first_height):
                pairs = compute_terms(
                    block.header.height, block.hash, block.transactions, block.outcomes,
                    self._get_job,
                )  # fmt: skip
                self._index.add(pairs, block.header.height)

    @staticmethod
    def initialise(database: Database, block: Block, changes: Changes) -> None:
        """Write block 0 and the first state into an empty database. Raises `DatabaseExists`."""
        genesis = FinalBlock(block.header, compute_header_hash(block.header), (), (), (), b"")

        def write(connection: Connection) -> None:
            raw = get_raw(connection)
            if block_rows.read_head(raw) is not None:
                raise DatabaseExists(f"the database {database.path} holds a chain already")
            block_rows.write_block(raw, genesis)
            stored_state.initialise(raw, changes)

        database.write_now(write)

    def get_head(self) -> Header:
        """Return the header of the last final block."""
        return self._head

    def read_sign_sequence(self) -> int:
        """Return how many signatures of this node's key the store has seen (rule C11)."""
        return self.database.read_now(
            lambda connection: block_rows.read_sign_sequence(get_raw(connection))
        )

    def read_successions(self) -> list[Succession]:
        """Return how each authority set since genesis came into force. Raises `DatabaseDamaged`."""
        with naming_damage(self.database.path):
            return self.database.read_now(
                lambda connection: chain_base.read_successions(get_raw(connection))
            )

    def get_head_hash(self) -> bytes:
        """Return the hash of the last final block."""
        return self._head_hash

    async def commit(
        self,
        block: Block,
        certificate: bytes,
        outcomes: tuple[Outcome, ...],
        changes: Changes,
        mempool_batches: Sequence[int] = (),
        sign_sequence: int = 0,
    ) -> FinalBlock:
        """Make the block after the head durable with all that it does, and move the head to it.

        `changes` has its root computed, and its base is `state` or the overlay committed before.
        `sign_sequence` is the node's own count of signatures, 0 for a node that signs nothing.
        Head and state move when the write is durable, even when the caller is cancelled meanwhile.
        """
        assert not self._is_committing, "one commit at a time"
        assert block.header.height == self._head.height + 1
        assert block.header.parent == self._head_hash
        ids = tuple(
            outcome.subject for outcome in outcomes[len(outcomes) - len(block.transactions) :]
        )
        final = FinalBlock(
            header=block.header,
            hash=compute_header_hash(block.header),
            transactions=block.transactions,
            transaction_ids=ids,
            outcomes=outcomes,
            certificate=certificate,
        )
        state_commit = self.state.plan(block.header.height, changes)
        history_batch = self._index.plan(len(outcomes) * _PAIRS_PER_OUTCOME)
        successions = []
        if chain_base.is_closing(block.header):
            following = get_authorities(changes).current
            finality = decode_finality(certificate)
            successions.append(Succession(block.header, finality, following))
        self._is_committing = True

        def write(connection: Connection) -> list[tuple[int, int]]:
            raw = get_raw(connection)
            block_rows.write_block(raw, final)
            chain_base.write_successions(raw, successions)
            state_commit.write(raw)
            mempool_rows.delete_batches(raw, mempool_batches)
            block_rows.write_sign_sequence(raw, sign_sequence)
            if history_batch is not None:
                self._index.write(raw, history_batch)
            return compute_terms(
                block.header.height, final.hash, block.transactions, outcomes,
                lambda job: _as_job(changes, job),
            )  # fmt: skip

        def finish(write: "asyncio.Future[list[tuple[int, int]]]") -> None:
            self._is_committing = False
            if not write.cancelled() and write.exception() is None:
                self.state.advance(state_commit)
                self._advance(final, write.result(), history_batch)

        future = asyncio.wrap_future(self.database.submit(write))
        future.add_done_callback(finish)
        await asyncio.shield(future)
        return final

    def prove_entry(self, key: bytes) -> tuple[bytes, StateProof, Header] | None:
        """Return an entry's canonical bytes, its proof and the head header with the root."""
        entry, leaf = self.state.get(key), self.state.get_leaf(key)
        if entry is None or leaf is None:
            return None
        count = self.state.get_leaf_count()
        proof = state_tree.prove_leaf(self.state.get_node, count, leaf)
        return codec.encode(entry), proof, self._head

    async def read_block(self, height: int) -> FinalBlock | None:
        """Return the block at a height."""
        return next(iter(await self.read_blocks(height, 1)), None)

    async def read_blocks(self, first: int, limit: int) -> list[FinalBlock]:
        """Return up to `limit` (at most 256) final blocks from a height on.

        There are none where the first is below `base_height`: an answer never skips any.
        """
        if first < self.base_height:
            return []
        return await self.database.read(
            lambda connection: block_rows.read_blocks(get_raw(connection), first, limit)
        )

    def iterate_blocks(self, first: int = 0) -> Iterator[FinalBlock]:
        """Yield the final blocks from a height on, or from `base_height`; for start-up and checks.

        Raises `DatabaseDamaged`.
        """
        first = max(first, self.base_height)
        while blocks := self._read_step(first):
            yield from blocks
            first = blocks[-1].header.height + 1

    def close(self) -> None:
        """Close the connection of the state; the database is its owner's to close."""
        self.state.close()

    def _read_head(self, chain_id: bytes) -> tuple[Header, bytes]:
        path = self.database.path
        head = self.database.read_now(lambda connection: block_rows.read_head(get_raw(connection)))
        if head is None:
            raise DatabaseDamaged(f"the database {path} holds no chain")
        if head[0].chain_id != chain_id:
            raise WrongChain(
                f"{path} holds the chain {head[0].chain_id.hex()}, not {chain_id.hex()}"
            )
        return head

    def _read_step(self, first: int) -> list[FinalBlock]:
        with naming_damage(self.database.path):
            return self.database.read_now(
                lambda connection: block_rows.read_blocks(
                    get_raw(connection), first, _BLOCKS_PER_STEP
                )
            )

    def _advance(
        self, block: FinalBlock, pairs: list[tuple[int, int]], batch: Batch | None
    ) -> None:
        self._head, self._head_hash = block.header, block.hash
        if batch is not None:
            self._index.on_written(batch)
        self._index.add(pairs, block.header.height)

    def _get_job(self, job: bytes) -> Job | None:
        entry = self.state.get(job_key(job))
        return entry if isinstance(entry, Job) else None


def _as_job(changes: Changes, job: bytes) -> Job | None:
    entry = changes.get(job_key(job))
    return entry if isinstance(entry, Job) else None


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what reading a broken row or page raises into `DatabaseDamaged`."""
    try:
        yield
    except (sqlcipher3.DatabaseError, SQLAlchemyError, msgspec.DecodeError, Rejected) as error:
        raise DatabaseDamaged(f"the database {path} is damaged: {error}") from error
