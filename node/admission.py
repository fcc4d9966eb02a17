"""The way into the mempool: every check before a transaction waits, and durable before the answer.

Cheap checks come first, so that garbage costs no signature check; signatures and proofs are checked
off the event loop. A sender hears its id only when the transaction survives a crash (rule L8).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from ledger import crypto, settlement
from ledger.context import Context, Rules
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, get_account, get_totals
from ledger.transactions import (
    JobSettle,
    Transaction,
    VerifiedTransaction,
    decode_transaction,
    verify_transaction,
)
from node.chain import Chain
from node.mempool import Mempool, Waiting
from node.mempool_journal import DatabaseJournal, MemoryJournal
from node.proofs import ProofGate

MAX_SUBMITTED = 1_000
"""Transactions in one call."""

INLINE_SIGNATURES = 2
"""Up to this many signatures are checked on the loop: a thread's hand-over costs as much as one."""

EPOCH_TOLERANCE = 5_000
"""Milliseconds that a settlement's epoch may be ahead of this node's clock; it waits till then."""

MAX_FALSE_PROOFS = 32
"""False proofs of one lease that are checked, those in the queue included: a check costs a thousand
times what sending costs, and nobody but the leaseholder gets this far."""

MAX_DOUBTED = 65_536
"""Leases whose false proofs are remembered."""

Verdict = bytes | Rejected
Checked = VerifiedTransaction | Rejected


class Admission:
    """Checks and enters transactions; the only writer of the mempool beside the block commit."""

    def __init__(
        self,
        mempool: Mempool,
        journal: DatabaseJournal | MemoryJournal,
        gate: ProofGate,
        rules: Rules,
        executor: Executor,
        chain: Chain,
        on_work: Callable[[], None],
        on_accepted: Callable[[Sequence[bytes]], None],
        get_now: Callable[[], int],
    ) -> None:
        """`on_accepted` hears the bytes of what is new and waits durably here."""
        self._mempool = mempool
        self._journal = journal
        self._gate = gate
        self._rules = rules
        self._executor = executor
        self._chain = chain
        self._on_work = on_work
        self._on_accepted = on_accepted
        self._get_now = get_now
        self._doubted: dict[tuple[bytes, int], int] = {}
        """Proofs that are being checked or were false, by job and number of its earlier leases."""

    async def submit(self, raws: Sequence[bytes]) -> list[Verdict]:
        """Return each transaction's id, once it waits durably, or why it was refused."""
        return await self._submit(raws, is_own=True)

    async def submit_relayed(self, raws: Sequence[bytes]) -> list[Verdict]:
        """Take what another node has accepted, and keeps durable itself."""
        return await self._submit(raws, is_own=False)

    async def _submit(self, raws: Sequence[bytes], *, is_own: bool) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(raws)
        decoded: list[tuple[int, Transaction]] = []
        for index, raw in enumerate(raws):
            try:
                transaction = self._precheck(raw)
                if not is_own:
                    self._check_nonce(transaction)
                decoded.append((index, transaction))
            except Rejected as rejected:
                verdicts[index] = rejected
        checked = await self._check_signatures([(t, raws[i]) for i, t in decoded])
        await self._check_settlements(checked)
        # A caller that gives up from here on undoes nothing: what has a place in line and is never
        # made durable would hold up its account, and later ones of it may be accepted by now.
        entered = await asyncio.shield(self._enter(checked, is_own))
        for (index, _), verdict in zip(decoded, entered, strict=True):
            verdicts[index] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    async def _enter(self, checked: Sequence[Checked], is_own: bool) -> list[Verdict]:
        """Give each transaction its place in line, and make durable what is accepted here."""
        reserved: list[Waiting] = []
        verdicts = [await self._reserve(result, reserved, is_own) for result in checked]
        if is_own:
            # Also with nothing of its own: a repeated one may be another call's, not durable yet.
            await self._make_durable(reserved)
            self._on_accepted([waiting.verified.raw for waiting in reserved])
        for waiting in reserved:
            waiting.is_durable = True
        if reserved:
            self._on_work()
        return verdicts

    def _precheck(self, raw: bytes) -> Transaction:
        """Decode, and refuse what no block after the head could take. Raises `Rejected`."""
        transaction = decode_transaction(raw)
        height, limits = self._chain.head.height, self._rules.parameters
        if transaction.fee < len(raw) * limits.minimum_fee_rate:
            raise Rejected(
                Rejection.FEE_TOO_LOW,
                f"{len(raw)} bytes cost at least {len(raw) * limits.minimum_fee_rate} base units",
            )
        if transaction.valid_until <= height:
            raise Rejected(Rejection.VALIDITY_OVER, f"the chain is at height {height}")
        if transaction.valid_until > height + 1 + limits.maximum_validity:
            raise Rejected(Rejection.VALIDITY_TOO_LONG)
        return transaction

    def _check_nonce(self, transaction: Transaction) -> None:
        """Refuse, unchecked otherwise, what a block has overtaken on its way here."""
        sender = crypto.compute_address(transaction.sender)
        if transaction.nonce < get_account(self._chain.view, sender).nonce:
            raise Rejected(Rejection.NONCE_USED)

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
            known = self._chain.find_verified(transaction, raw)
            if known is not None:
                results.append(known)
                continue
            try:
                results.append(verify_transaction(transaction, raw, self._rules.chain_id))
            except Rejected as rejected:
                results.append(rejected)
        return results

    async def _check_settlements(self, checked: list[Checked]) -> None:
        """Replace each settlement that does not hold by its refusal; all proofs wait together."""
        waiting = [
            (index, result, result.transaction.payload)
            for index, result in enumerate(checked)
            if isinstance(result, VerifiedTransaction)
            and isinstance(result.transaction.payload, JobSettle)
        ]
        if not waiting:
            return
        verdicts = await asyncio.gather(
            *(self._check_settlement(result, payload) for _, result, payload in waiting)
        )
        for (index, _, _), verdict in zip(waiting, verdicts, strict=True):
            checked[index] = verdict

    async def _check_settlement(self, result: VerifiedTransaction, payload: JobSettle) -> Checked:
        """Check a settlement against the final state, its proof last."""
        if self._mempool.has(result.id):
            # It was checked on its way in; what became of its lease since is the block's to say.
            return result
        head, view = self._chain.head, self._chain.view
        if payload.epoch_time > self._get_now() + EPOCH_TOLERANCE:
            return Rejected(Rejection.NOT_YET_DUE, "the epoch time is ahead of this node's clock")
        clock = head.time - get_totals(view).outage
        context = Context(Changes(view), self._rules, head.height, head.time, clock)
        sender = crypto.compute_address(result.transaction.sender)
        try:
            job, lease = settlement.check_settle(context, sender, payload)
            inputs = settlement.compute_public_inputs(
                self._rules.chain_id, self._rules.proof.key_id, job, lease, payload
            )
        except Rejected as rejected:
            return result if await self._chain.is_final(result.id) else rejected
        lease_name = (payload.job, len(job.attempts))
        if self._doubted.get(lease_name, 0) >= MAX_FALSE_PROOFS:
            return Rejected(Rejection.BAD_PROOF, "too many false proofs of this lease")
        if not await self._holds(lease_name, inputs, payload.proof):
            return Rejected(Rejection.BAD_PROOF)
        return result

    async def _holds(
        self, lease_name: tuple[bytes, int], inputs: tuple[int, ...], proof: bytes
    ) -> bool:
        """Tell whether a proof holds, and count it while it does not."""
        doubted = self._doubted
        doubted[lease_name] = doubted.get(lease_name, 0) + 1
        if len(doubted) > MAX_DOUBTED:
            del doubted[next(iter(doubted))]
        is_false = False
        try:
            is_false = not await self._gate.verify_soon(inputs, proof)
        finally:
            if not is_false and lease_name in doubted:
                doubted[lease_name] -= 1
                if not doubted[lease_name]:
                    del doubted[lease_name]
        return not is_false

    async def _reserve(self, result: Checked, reserved: list[Waiting], is_own: bool) -> Verdict:
        if isinstance(result, Rejected):
            return result
        waiting = self._mempool.get_waiting(result.id)
        if waiting is not None:
            if is_own and not waiting.is_own:
                # Whoever is told that it is accepted here must find it here after a crash.
                waiting.is_own = True
                reserved.append(waiting)
            return result.id
        sender = crypto.compute_address(result.transaction.sender)
        account = get_account(self._chain.view, sender)
        try:
            waiting = self._mempool.reserve(
                sender, result, account.nonce, account.balance, is_own=is_own
            )
        except Rejected as rejected:
            if rejected.reason is Rejection.NONCE_USED and await self._chain.is_final(result.id):
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
