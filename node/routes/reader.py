"""What the chain's routes read: the head's state and history, blocks in short, and their proofs.

Every answer is about final blocks. Reading and proving is done in threads; only point reads of the
head's state happen on the event loop.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from coordinator.ports import FinalBlock
from genesis.document import Genesis
from ledger import codec, merkle
from ledger.blocks import Header
from ledger.state import StateView, get_totals
from ledger.state_tree import StateProof
from node import block_rows
from node.block_rows import Leaves
from node.chain import Chain
from node.chain_history import ChainHistory
from node.chain_port import ChainPort
from node.chain_store import ChainStore
from node.consensus_driver import ConsensusDriver
from node.metrics import Metrics
from node.peers import Peers
from node.routes import models
from node.sqlcipher import get_raw
from node.tables import SLOT_BITS

_headers = msgspec.msgpack.Decoder(Header)
MAX_HEIGHT: Final = 2**62 >> SLOT_BITS
"""Above every height whose positions an index can name."""


class BlockShort(NamedTuple):
    """A block without its body. `certificate` is the encoded finality proof, empty for block 0."""

    header: Header
    hash: bytes
    certificate: bytes
    transactions: int


@dataclass(frozen=True, slots=True)
class ChainReader:
    """What the routes of the chain are built on."""

    genesis: Genesis
    chain: Chain
    port: ChainPort
    driver: ConsensusDriver
    peers: Peers
    metrics: Metrics

    @property
    def store(self) -> ChainStore:
        return self.chain.store

    @property
    def history(self) -> ChainHistory:
        return self.chain.store.history

    @property
    def view(self) -> StateView:
        """The state after the head."""
        return self.chain.view

    @property
    def outage(self) -> int:
        """By how many milliseconds header time is ahead of the working clock."""
        return get_totals(self.chain.view).outage

    async def list_blocks(self, before: int | None, limit: int) -> list[BlockShort]:
        """Return the newest blocks below a height, without their bodies."""
        end = MAX_HEIGHT if before is None else min(before, MAX_HEIGHT)

        def read(connection: Connection) -> list[BlockShort]:
            rows = get_raw(connection).execute(
                "select hash, header, certificate, due_count, coalesce("
                " (select position + 1 from outcomes"
                "  where position >= height << ? and position < (height + 1) << ?"
                "  order by position desc limit 1) - (height << ?), 0)"
                " from blocks where height < ? order by height desc limit ?",
                (SLOT_BITS, SLOT_BITS, SLOT_BITS, end, limit),
            )
            return [
                BlockShort(_headers.decode(header), block_hash, certificate, outcomes - due)
                for block_hash, header, certificate, due, outcomes in rows
            ]

        return await self.store.database.read(read)

    async def get_block_short(self, height: int) -> BlockShort | None:
        """Return the block at a height, without its body."""
        found = await self.list_blocks(height + 1, 1)
        return found[0] if found and found[0].header.height == height else None

    async def find_block(self, name: int | bytes) -> FinalBlock | None:
        """Return a block by its height or its hash."""
        if isinstance(name, bytes):
            return await self.history.find_block(name)
        return await self.store.read_block(name) if name < MAX_HEIGHT else None

    async def prove_transaction(self, height: int, index: int) -> models.TransactionProof:
        """Return the proof of a transaction and of its outcome, by its place in a final block."""
        leaves = await self.store.database.read(
            lambda connection: block_rows.read_leaves(get_raw(connection), height)
        )
        return await asyncio.to_thread(_prove_transaction, leaves, index)

    def begin_proof(self, key: bytes) -> "PendingProof | None":
        """Return the inclusion of an entry in the state after the head, None where it has none."""
        proven = self.store.prove_entry(key)
        return PendingProof(key, *proven) if proven else None

    async def finish_proof(self, pending: "PendingProof") -> models.EntryProof:
        """Return an entry's proof together with that of the header."""
        block = await self.get_block_short(pending.header.height)
        assert block is not None
        return models.EntryProof(
            height=pending.header.height,
            header=codec.encode(pending.header).hex(),
            finality=block.certificate.hex() or None,
            key=pending.key.hex(),
            value=pending.value.hex(),
            leaf=pending.proof.leaf,
            count=pending.proof.count,
            nodes=[node.hex() for node in pending.proof.nodes],
        )


class PendingProof(NamedTuple):
    """An entry's inclusion under the state root of a header that is still to be proved final."""

    key: bytes
    value: bytes
    proof: StateProof
    header: Header


def _prove_transaction(block: Leaves, index: int) -> models.TransactionProof:
    due = len(block.outcomes) - len(block.transactions)
    return models.TransactionProof(
        height=block.height,
        header=block.header.hex(),
        finality=block.certificate.hex() or None,
        transaction=_prove_leaf(block.transactions, index),
        outcome=_prove_leaf(block.outcomes, due + index),
    )


def _prove_leaf(leaves: list[bytes], index: int) -> models.ListProof:
    proof = merkle.prove_inclusion(leaves, index)
    return models.ListProof(
        leaf=leaves[index].hex(),
        index=proof.index,
        count=proof.count,
        siblings=[sibling.hex() for sibling in proof.siblings],
    )
