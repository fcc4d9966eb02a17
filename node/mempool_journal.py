"""Where waiting transactions survive a restart, by the setting `mempool_backend`."""

from collections.abc import Sequence

from sqlalchemy import Connection

from ledger import crypto
from ledger.rejection import Rejected
from ledger.state import StateView, get_account
from ledger.transactions import decode_transaction, verify_transaction
from node import mempool_rows
from node.database import Database
from node.mempool import Mempool, Waiting


class DatabaseJournal:
    """Rows beside the chain: accepted means written and synced, several calls to one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, waiting: Sequence[Waiting]) -> None:
        """Return when the transactions, and all appended before them, are durable."""
        rows = [(each.sequence, each.verified.raw) for each in waiting]

        def write(connection: Connection) -> None:
            mempool_rows.insert_rows(connection, rows)

        await self._database.write(write)

    def load(self, mempool: Mempool, view: StateView, chain_id: bytes) -> int:
        """Enter what waited when the node stopped; return how many.

        Every signature is checked again: there is one way to a verified transaction.
        """
        rows = self._database.read_now(mempool_rows.load_rows)
        refused = []
        for sequence, raw in rows:
            try:
                verified = verify_transaction(decode_transaction(raw), raw, chain_id)
                sender = crypto.compute_address(verified.transaction.sender)
                account = get_account(view, sender)
                mempool.restore(sequence, sender, verified, account.nonce, account.balance)
            except Rejected:
                refused.append(sequence)
        if refused:
            self._database.write_now(
                lambda connection: mempool_rows.remove_rows(connection, refused)
            )
        return len(rows) - len(refused)


class MemoryJournal:
    """Nothing is kept: a restart forgets what waited, as the operator chose."""

    async def append(self, waiting: Sequence[Waiting]) -> None:
        """Return at once."""
