"""The way into the mempool: every check before a transaction waits, and durable before the answer.

Cheap checks come first, so that garbage costs no signature check; signatures and proofs are checked
off the event loop. A sender hears its id only when the transaction survives a crash (rule L8).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from ledger import crypto, settlement
from ledger.context import Context, Rules
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, StateView, get_account
from ledger.transactions import (
    JobSettle,
    Transaction,
    VerifiedTransaction,
    decode_transaction,
    verify_transaction,
)
from node.mempool import Mempool, Waiting
from node.proofs import ProofGate

MAX_SUBMITTED = 1_000
"""Transactions in one call."""

INLINE_SIGNATURES = 2
"""Up to this many signatures are checked on the loop: a thread's hand-over costs as much as one."""

Verdict = bytes | Rejected
Checked = VerifiedTransaction | Rejected


class Final(NamedTuple):
    """What admission needs of the final chain."""

    view: StateView
    height: int
    time: int
    clock: int


class Journal(Protocol):
    """Where waiting transactions survive a restart: a table, or nothing by the memory setting."""

    async def append(self, waiting: Sequence[Waiting]) -> None:
        """Return when the transactions are durable."""


class Admission:
    """Checks and enters transactions; the only writer of the mempool beside the block commit."""

    def __init__(
        self,
        mempool: Mempool,
        journal: Journal,
        gate: ProofGate,
        rules: Rules,
        executor: Executor,
        get_final: Callable[[], Final],
        is_final: Callable[[bytes], Awaitable[bool]],
        on_work: Callable[[], None],
    ) -> None:
        self._mempool = mempool
        self._journal = journal
        self._gate = gate
        self._rules = rules
        self._executor = executor
        self._get_final = get_final
        self._is_final = is_final
        self._on_work = on_work

    async def submit(self, raws: Sequence[bytes]) -> list[Verdict]:
        """Return each transaction's id, once it waits durably, or why it was refused."""
        verdicts: list[Verdict | None] = [None] * len(raws)
        decoded: list[tuple[int, Transaction]] = []
        for index, raw in enumerate(raws):
            try:
                decoded.append((index, self._precheck(raw)))
            except Rejected as rejected:
                verdicts[index] = rejected
        checked = await self._check_signatures([(t, raws[i]) for i, t in decoded])
        checked = await asyncio.gather(*map(self._check_settlement, checked))
        reserved: list[Waiting] = []
        for (index, _), result in zip(decoded, checked, strict=True):
            verdicts[index] = await self._reserve(result, reserved)
        # Also with nothing of its own: a repeated one may be another call's, not durable yet.
        await self._make_durable(reserved)
        return [verdict for verdict in verdicts if verdict is not None]

    def _precheck(self, raw: bytes) -> Transaction:
        """Decode, and refuse what no block after the head could take. Raises `Rejected`."""
        transaction = decode_transaction(raw)
        final, limits = self._get_final(), self._rules.parameters
        if transaction.fee < len(raw) * limits.minimum_fee_rate:
            raise Rejected(
                Rejection.FEE_TOO_LOW,
                f"{len(raw)} bytes cost at least {len(raw) * limits.minimum_fee_rate} base units",
            )
        if transaction.valid_until <= final.height:
            raise Rejected(Rejection.VALIDITY_OVER, f"the chain is at height {final.height}")
        if transaction.valid_until > final.height + 1 + limits.maximum_validity:
            raise Rejected(Rejection.VALIDITY_TOO_LONG)
        return transaction

    async def _check_signatures(
        self, transactions: Sequence[tuple[Transaction, bytes]]
    ) -> list[Checked]:
        if len(transactions) <= INLINE_SIGNATURES:
            return self._verify(transactions)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._verify, transactions)

    def _verify(self, transactions: Sequence[tuple[Transaction, bytes]]) -> list[Checked]:
        results: list[Checked] = []
        for transaction, raw in transactions:
            try:
                results.append(verify_transaction(transaction, raw, self._rules.chain_id))
            except Rejected as rejected:
                results.append(rejected)
        return results

    async def _check_settlement(self, result: Checked) -> Checked:
        """Check a settlement against the final state, its proof last."""
        if isinstance(result, Rejected) or not isinstance(result.transaction.payload, JobSettle):
            return result
        payload, final = result.transaction.payload, self._get_final()
        context = Context(Changes(final.view), self._rules, final.height, final.time, final.clock)
        sender = crypto.compute_address(result.transaction.sender)
        try:
            job, lease = settlement.check_settle(context, sender, payload)
            inputs = settlement.compute_public_inputs(
                self._rules.chain_id, self._rules.proof.key_id, job, lease, payload
            )
        except Rejected as rejected:
            return result if await self._is_final(result.id) else rejected
        if not await self._gate.verify_soon(inputs, payload.proof):
            return Rejected(Rejection.BAD_PROOF)
        return result

    async def _reserve(self, result: Checked, reserved: list[Waiting]) -> Verdict:
        if isinstance(result, Rejected):
            return result
        if self._mempool.has(result.id):
            return result.id
        sender = crypto.compute_address(result.transaction.sender)
        account = get_account(self._get_final().view, sender)
        try:
            waiting = self._mempool.reserve(sender, result, account.nonce, account.balance)
        except Rejected as rejected:
            if rejected.reason is Rejection.NONCE_USED and await self._is_final(result.id):
                return result.id
            return rejected
        reserved.append(waiting)
        return result.id

    async def _make_durable(self, reserved: list[Waiting]) -> None:
        try:
            await self._journal.append(reserved)
        except BaseException:
            for waiting in reserved:
                self._mempool.remove(waiting)
            raise
        for waiting in reserved:
            waiting.is_durable = True
        if reserved:
            self._on_work()
