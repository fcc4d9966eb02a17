"""Sends transactions: signs for custodial accounts, takes signed ones from the others.

The one place that assigns nonces, one account at a time. A transaction is a durable row before the
node sees it, so after a crash the same bytes are sent again and never others.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from coordinator import job_rows, sql
from coordinator.accounts import open_seed
from coordinator.locks import KeyedLocks
from coordinator.ports import Chain, Storage
from coordinator.settings import CoordinatorSettings
from coordinator.signals import UPDATES, Signals
from coordinator.tables import AccountRow, TransactionRow
from ledger import codec, crypto, transactions
from ledger.rejection import FIRST_EXECUTION_CODE, Rejected, Rejection
from ledger.state import get_account
from ledger.transactions import (
    MAX_TRANSACTION_BYTES,
    JobSubmit,
    MinerRegister,
    MinerUpdate,
    Payload,
    Transfer,
    VerifiedTransaction,
)

log = structlog.get_logger(__name__)

Record = Callable[[Connection, bytes], None]
"""Writes what belongs to a transaction, given its id, in the same commit."""

CACHED_SEEDS: Final = 4_096
RESUBMIT_BATCH: Final = 256
"""Transactions that are sent again at a time; the next time goes on behind them."""


TRANSACTIONS: Final = sql.get_table(TransactionRow)
_SUM_PENDING: Final = sa.select(
    sa.func.coalesce(sa.func.sum(TRANSACTIONS.c.spend), 0), sa.func.max(TRANSACTIONS.c.nonce)
).where(TRANSACTIONS.c.sender == sa.bindparam("sender"), TRANSACTIONS.c.state == "pending")
_SET_STATE: Final = TRANSACTIONS.update().where(TRANSACTIONS.c.transaction_id == sa.bindparam("id"))


class Verdict(NamedTuple):
    """What became of a transaction: `code` 0 when it did what it says."""

    state: str
    code: int


def transaction_topic(transaction_id: bytes) -> str:
    """Return the topic that is announced when a transaction is final."""
    return f"tx:{transaction_id.hex()}"


def compute_spend(payload: Payload, fee: int) -> int:
    """Return the base units that a transaction takes from its sender's balance at most."""
    match payload:
        case Transfer():
            return payload.amount + fee
        case JobSubmit():
            return payload.escrow + fee
        case MinerRegister():
            return payload.bond + fee
        case MinerUpdate():
            return payload.added_bond + fee
        case _:
            return fee


def decode_signed(text: str, chain_id: bytes) -> VerifiedTransaction:
    """Return the transaction that a client signed, from hex. Raises `Rejected`."""
    if len(text) > 2 * MAX_TRANSACTION_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"at most {MAX_TRANSACTION_BYTES} bytes")
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise Rejected(Rejection.MALFORMED, "the transaction is not hex") from None
    if raw.hex() != text:
        raise Rejected(Rejection.NOT_CANONICAL, "the transaction is not plain lower-case hex")
    transaction = transactions.decode_transaction(raw)
    return transactions.verify_transaction(transaction, raw, chain_id)


class Wallets:
    """Every transaction that leaves through the API."""

    def __init__(
        self,
        chain: Chain,
        storage: Storage,
        settings: CoordinatorSettings,
        sealing_key: bytes,
        signals: Signals,
    ) -> None:
        self._chain = chain
        self._storage = storage
        self._settings = settings
        self._sealing_key = sealing_key
        self._signals = signals
        self._locks = KeyedLocks()
        self._sealed: dict[bytes, bytes] = {}
        self._resubmitted = 0
        """The row that the last resubmission ended with; 0 when it came to the end."""

    async def open_seed(self, address: bytes) -> bytes:
        """Return a custodial account's seed. Only as it is sealed it stays in memory."""
        sealed = self._sealed.get(address)
        if sealed is None:
            row = await self._storage.read(
                lambda connection: sql.find(connection, AccountRow, address=address)
            )
            assert row is not None and row.sealed_seed is not None
            if len(self._sealed) >= CACHED_SEEDS:
                self._sealed.clear()
            # An account's seed never changes.
            sealed = self._sealed[address] = row.sealed_seed
        return open_seed(sealed, self._sealing_key)

    def compute_fee(self, payload: Payload) -> int:
        """Return the fee of a transaction that is signed here."""
        return transactions.compute_size(payload) * self._chain.parameters.minimum_fee_rate

    async def send(
        self,
        address: bytes,
        payload: Payload,
        record: Record,
        job: bytes | None = None,
        seed: bytes | None = None,
    ) -> bytes:
        """Sign for a custodial account, record, submit; return the id. Raises `Rejected`.

        When it raises, nothing was sent, and what the job's row said of it has been taken back.
        """
        if seed is None:
            seed = await self.open_seed(address)
        fee = self.compute_fee(payload)
        async with self._locks.get(address):
            nonce = await self._reserve(address, compute_spend(payload, fee))
            valid_until = self._chain.get_head().height + min(
                self._settings.validity_blocks, self._chain.parameters.maximum_validity
            )
            transaction = transactions.sign_transaction(
                seed, self._chain.chain_id, nonce, fee, valid_until, payload
            )
            verified = VerifiedTransaction(
                transactions.compute_transaction_id(transaction, self._chain.chain_id),
                transaction,
                codec.encode(transaction),
            )
            return await self._record_and_submit(address, verified, record, job)

    async def send_signed(
        self, address: bytes, verified: VerifiedTransaction, record: Record, job: bytes | None
    ) -> bytes:
        """Record and submit what its holder signed; return the id. Raises `Rejected`.

        One that was sent before is answered by its id again.
        """
        if crypto.compute_address(verified.transaction.sender) != address:
            raise Rejected(Rejection.BAD_SIGNATURE, "the transaction is not signed by this account")
        async with self._locks.get(address):
            known = await self.find(verified.id)
            if known is not None and known.state != "refused":
                return verified.id
            return await self._record_and_submit(
                address, verified, record, job, is_known=known is not None
            )

    async def find(self, transaction_id: bytes) -> TransactionRow | None:
        """Return what is known of a transaction that was sent here."""
        return await self._storage.read(
            lambda connection: sql.find(connection, TransactionRow, transaction_id=transaction_id)
        )

    async def list_pending(self, address: bytes, job: bytes) -> list[tuple[bytes, Payload]]:
        """Return what an account has on its way about a job, each by its id, in their order."""
        rows = await self._storage.read(lambda connection: _read_about(connection, address, job))
        return [
            (row.transaction_id, transactions.decode_transaction(row.raw).payload) for row in rows
        ]

    async def wait_final(self, transaction_id: bytes, seconds: float) -> Verdict | None:
        """Return what a transaction came to, or None when it is not final within `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with self._signals.listen(transaction_topic(transaction_id)) as listener:
            while True:
                row = await self.find(transaction_id)
                if row is not None and row.state != "pending":
                    return Verdict(row.state, row.code)
                if not await listener.wait(deadline - loop.time()):
                    return None

    async def get_spendable(self, address: bytes) -> int:
        """Return the final balance less what is on its way out of it."""
        pending, _ = await self._storage.read(lambda connection: _sum_pending(connection, address))
        return max(0, get_account(self._chain.get_view(), address).balance - pending)

    async def resubmit(self) -> None:
        """Hand the next transactions that are not final to the node again, oldest first."""
        after = self._resubmitted
        rows = await self._storage.read(lambda connection: _read_pending(connection, after))
        self._resubmitted = (rows[-1].row_id or 0) if len(rows) == RESUBMIT_BATCH else 0
        if not rows:
            return
        verdicts = await self._chain.submit([row.raw for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, Rejected) and await self._is_hopeless(row, verdict.reason):
                await self._give_up(row, verdict.reason)

    async def _is_hopeless(self, row: TransactionRow, reason: Rejection) -> bool:
        # What the mempool refuses for the job's sake will not be taken later either, and would keep
        # its nonce, and with it the account, until its validity is over.
        is_over = (
            reason in (Rejection.NONCE_USED, Rejection.BAD_PROOF)
            or reason >= FIRST_EXECUTION_CODE
            or row.valid_until < self._chain.get_head().height
        )
        return is_over and await self._chain.find_transaction(row.transaction_id) is None

    async def _give_up(self, row: TransactionRow, reason: Rejection) -> None:
        now = self._chain.get_head().time
        ids = await self._storage.write(lambda connection: _expire(connection, row, reason, now))
        self._signals.announce(UPDATES, *map(transaction_topic, ids))
        log.warning("transaction given up", id=row.transaction_id.hex(), reason=reason.name)

    async def _reserve(self, address: bytes, spend: int) -> int:
        """Return the next nonce, the spend being covered. Raises `Rejected`."""
        pending, last = await self._storage.read(
            lambda connection: _sum_pending(connection, address)
        )
        balance = get_account(self._chain.get_view(), address).balance
        if balance - pending < spend:
            raise Rejected(
                Rejection.INSUFFICIENT_BALANCE,
                f"{max(0, balance - pending)} base units can be spent, {spend} are needed",
            )
        return max(self._chain.get_next_nonce(address), 0 if last is None else last + 1)

    async def _record_and_submit(
        self,
        address: bytes,
        verified: VerifiedTransaction,
        record: Record,
        job: bytes | None,
        is_known: bool = False,
    ) -> bytes:
        transaction = verified.transaction
        row = TransactionRow(
            transaction_id=verified.id,
            sender=address,
            nonce=transaction.nonce,
            spend=compute_spend(transaction.payload, transaction.fee),
            valid_until=transaction.valid_until,
            job_id=job,
            raw=verified.raw,
        )

        def write(connection: Connection) -> None:
            if is_known:
                connection.execute(
                    TRANSACTIONS.delete().where(TRANSACTIONS.c.transaction_id == verified.id)
                )
            sql.insert(connection, row)
            record(connection, verified.id)

        await self._storage.write(write)
        try:
            async with asyncio.timeout(self._settings.submit_wait):
                (verdict,) = await self._chain.submit([verified.raw])
        except TimeoutError:
            # The row is durable: `resubmit` brings it to the mempool.
            return verified.id
        if isinstance(verdict, Rejected):
            code, now = int(verdict.reason), self._chain.get_head().time

            def take_back(connection: Connection) -> None:
                set_state(connection, [verified.id], "refused", code)
                if job is not None:
                    job_rows.take_back(connection, job, verified.id, code, now)

            await self._storage.write(take_back)
            raise verdict
        return verified.id


def set_state(connection: Connection, ids: list[bytes], state: str, code: int = 0) -> None:
    """Note what became of transactions."""
    if ids:
        connection.execute(_SET_STATE, [{"id": each, "state": state, "code": code} for each in ids])


def list_unsettled(connection: Connection, limit: int) -> set[bytes] | None:
    """Return the transactions that no block was seen to hold; `None` for more than `limit`."""
    rows = connection.execute(
        sa.select(TRANSACTIONS.c.transaction_id)
        .where(TRANSACTIONS.c.state.in_(("pending", "expired", "refused")))
        .limit(limit + 1)
    )
    ids = {row[0] for row in rows}
    return ids if len(ids) <= limit else None


def _sum_pending(connection: Connection, address: bytes) -> tuple[int, int | None]:
    spend, last = connection.execute(_SUM_PENDING, {"sender": address}).one()
    return int(spend), last


def _read_pending(connection: Connection, after: int) -> list[TransactionRow]:
    statement = (
        TRANSACTIONS.select()
        .where(TRANSACTIONS.c.state == "pending", TRANSACTIONS.c.row_id > after)
        .order_by(TRANSACTIONS.c.row_id)
        .limit(RESUBMIT_BATCH)
    )
    return sql.load(connection, TransactionRow, statement)


def _read_about(connection: Connection, address: bytes, job: bytes) -> list[TransactionRow]:
    statement = (
        TRANSACTIONS.select()
        .where(
            TRANSACTIONS.c.sender == address,
            TRANSACTIONS.c.state == "pending",
            TRANSACTIONS.c.job_id == job,
        )
        .order_by(TRANSACTIONS.c.nonce)
    )
    return sql.load(connection, TransactionRow, statement)


def _expire(
    connection: Connection, first: TransactionRow, reason: Rejection, now_ms: int
) -> list[bytes]:
    """Give up a transaction and the account's later ones, whose nonces no longer follow."""
    statement = TRANSACTIONS.select().where(
        TRANSACTIONS.c.sender == first.sender,
        TRANSACTIONS.c.state == "pending",
        TRANSACTIONS.c.nonce >= first.nonce,
    )
    rows = sql.load(connection, TransactionRow, statement)
    for row in rows:
        sql.update(connection, row, state="expired", code=int(reason))
        if row.job_id is not None:
            job_rows.note_failure(connection, row.job_id, row.transaction_id, int(reason), now_ms)
    return [row.transaction_id for row in rows]
