"""Where waiting transactions survive a restart, by the setting `mempool_backend`."""

import asyncio
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from ledger import crypto
from ledger.rejection import Rejected
from ledger.state import StateView, get_account
from ledger.transactions import decode_transaction, verify_transaction
from node import mempool_rows
from node.database import Database
from node.mempool import Mempool, Waiting

GATHER_SECONDS = 0.004


class DatabaseJournal:
    """Rows beside the chain: accepted means written and synced, several calls to one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathered: list[Waiting] = []
        self._gathering: asyncio.Task[None] | None = None
        self._batch_of: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._finished: list[int] = []
        """Batches of which nothing waits any more; the next block's commit removes them."""

    async def append(self, waiting: Sequence[Waiting]) -> None:
        """Return when the transactions, and all appended before them, are durable.

        Calls within a few milliseconds share a row and a commit: a commit costs as much as many
        transactions do.
        """
        self._gathered.extend(waiting)
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._write_gathered())
        await asyncio.shield(self._gathering)

    async def _write_gathered(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        waiting, self._gathered, self._gathering = self._gathered, [], None
        entries = [(each.sequence, each.verified.raw) for each in waiting]

        def write(connection: Connection) -> None:
            if entries:
                mempool_rows.insert_batch(connection, entries)

        await self._database.write(write)
        self._register([sequence for sequence, _ in entries])
        self._forget(each.sequence for each in waiting if each.is_gone)

    def take_finished(self, sequences: Sequence[int]) -> list[int]:
        """Return the rows to remove once these transactions, too, wait no more."""
        self._forget(sequences)
        finished, self._finished = self._finished, []
        return finished

    def load(self, mempool: Mempool, view: StateView, chain_id: bytes) -> int:
        """Enter what waited when the node stopped; return how many.

        Every signature is checked again: there is one way to a verified transaction.
        """
        batches = self._database.read_now(mempool_rows.load_batches)
        for batch in batches:
            self._register([sequence for sequence, _ in batch])
            for sequence, raw in batch:
                try:
                    verified = verify_transaction(decode_transaction(raw), raw, chain_id)
                    sender = crypto.compute_address(verified.transaction.sender)
                    account = get_account(view, sender)
                    mempool.restore(sequence, sender, verified, account.nonce, account.balance)
                except Rejected:
                    self._forget([sequence])
        return len(mempool)

    def _register(self, sequences: Sequence[int]) -> None:
        if sequences:
            self._left[sequences[0]] = len(sequences)
            self._batch_of.update(dict.fromkeys(sequences, sequences[0]))

    def _forget(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            batch = self._batch_of.pop(sequence, None)
            if batch is None:
                continue
            self._left[batch] -= 1
            if not self._left[batch]:
                del self._left[batch]
                self._finished.append(batch)


class MemoryJournal:
    """Nothing is kept: a restart forgets what waited, as the operator chose."""

    async def append(self, waiting: Sequence[Waiting]) -> None:
        """Return at once."""

    def take_finished(self, sequences: Sequence[int]) -> list[int]:
        """Return nothing: there are no rows."""
        return []
