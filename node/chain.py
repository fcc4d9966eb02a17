"""The only writer of chain state: builds, checks and commits blocks, and tells who follows.

Blocks above the head live as overlays until they are final; the database sees only final blocks,
each with its proof, state and outcomes in one transaction (docs/architecture.md).
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import structlog

from consensus.effects import RequestProposal
from consensus.messages import CommittedBlock
from coordinator.ports import FinalBlock
from ledger import codec, crypto
from ledger.blocks import Block, Header, compute_header_hash
from ledger.context import Rules
from ledger.entries import Account, account_key
from ledger.rejection import Rejected
from ledger.state import StateView, get_authorities, get_totals
from ledger.transactions import Transaction, VerifiedTransaction, verify_transaction
from ledger.transition import Executed, apply_block
from node.block_builder import Place, build_block
from node.chain_store import ChainStore
from node.mempool import Mempool
from node.mempool_journal import DatabaseJournal, MemoryJournal
from node.metrics import Metrics
from node.proofs import ProofGate, list_proofs

SIGNATURES_AT_ONCE = 128
"""Signatures of a block that one thread checks in a go; several threads share a long block."""

FOLLOWER_QUEUE = 64
"""Final blocks kept for a slow follower; it reads what it lost from the store."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A block above the head whose outcome is known."""

    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    executed: Executed
    by_signature: dict[bytes, VerifiedTransaction] = field(default_factory=dict)


class Chain:
    """Owned by the event loop. `get_now` gives the wall clock in milliseconds."""

    def __init__(
        self,
        store: ChainStore,
        mempool: Mempool,
        journal: DatabaseJournal | MemoryJournal,
        gate: ProofGate,
        rules: Rules,
        metrics: Metrics,
        executor: Executor,
        get_now: Callable[[], int],
    ) -> None:
        self.store = store
        self.rules = rules
        self.mempool = mempool
        self._journal = journal
        self._gate = gate
        self._metrics = metrics
        self._executor = executor
        self._get_now = get_now
        self._executed: dict[bytes, ExecutedBlock] = {}
        self._followers: set[asyncio.Queue[FinalBlock]] = set()
        self.show_head()

    @property
    def head(self) -> Header:
        """The header of the last final block."""
        return self.store.get_head()

    @property
    def head_hash(self) -> bytes:
        """Its hash."""
        return self.store.get_head_hash()

    @property
    def view(self) -> StateView:
        """The state after the head."""
        return self.store.state

    async def is_final(self, transaction_id: bytes) -> bool:
        """Tell whether a transaction is in a final block."""
        return await self.store.history.find_transaction(transaction_id) is not None

    def has_work(self) -> bool:
        """Tell whether a transaction, a due deadline or another authority set waits for a block."""
        authorities = get_authorities(self.view)
        if self.mempool.has_durable() or authorities.current.epoch < authorities.following.epoch:
            return True
        clock = self._get_now() - get_totals(self.view).outage
        return bool(self.view.get_due_jobs(clock, 1))

    def build(self, request: RequestProposal, proposer: bytes) -> Block | None:
        """Return our block on the requested parent, or None when the parent is not executed."""
        state, parent = self._get_parent(request.parent)
        if state is None or parent is None:
            return None
        start = time.perf_counter()
        now = max(parent.time + 1, self._get_now())
        place = Place(parent, request.view, now, proposer)
        built = build_block(state, place, self.mempool, self.rules)
        if request.parent == self.head_hash:
            # Unfit on a block that may yet be dropped is no verdict for good.
            for waiting in built.unfit:
                self._metrics.rejections.labels("unfit").inc()
                self.mempool.remove(waiting)
        self._keep(ExecutedBlock(built.block, built.transactions, built.executed))
        self._metrics.build_seconds.labels("build").observe(time.perf_counter() - start)
        return built.block

    async def validate(self, block: Block, block_hash: bytes, is_certified: bool) -> bool:
        """Tell whether a block is valid; the clock's tolerance decides only our own vote."""
        if block_hash in self._executed:
            return True
        state, parent = self._get_parent(block.header.parent)
        tolerance = self.rules.parameters.clock_tolerance
        if state is None or parent is None:
            return False
        if not is_certified and block.header.time > self._get_now() + tolerance:
            return False
        start = time.perf_counter()
        try:
            transactions = await self._verify_signatures(block)
            await self._gate.prepare(list_proofs(self.rules, state, transactions))
            executed = apply_block(state, parent, block, transactions, self.rules)
        except Rejected as rejected:
            log.warning("block refused", block=block.header.height, reason=rejected.reason.name)
            return False
        self._keep(ExecutedBlock(block, transactions, executed))
        self._metrics.build_seconds.labels("check").observe(time.perf_counter() - start)
        return True

    async def commit(
        self, committed: CommittedBlock, block_hash: bytes, sign_sequence: int
    ) -> FinalBlock:
        """Store a final block with everything that it changed, then tell the followers.

        `sign_sequence` counts our own signatures: with it the store knows an older journal.
        """
        ready = self._executed.pop(block_hash)
        header = ready.block.header
        assert header.parent == self.head_hash
        start = time.perf_counter()
        nonces = _list_nonces(ready)
        taken = self.mempool.take_gone()
        for sender, nonce in nonces.items():
            taken += self.mempool.list_overtaken(sender, nonce)
        final = await self.store.commit(
            ready.block,
            codec.encode(committed.finality),
            ready.executed.outcomes,
            ready.executed.changes,
            self._journal.take_finished(taken),
            sign_sequence,
        )
        for sender, nonce in nonces.items():
            self.mempool.settle_account(sender, nonce)
        self._executed = {
            key: each
            for key, each in self._executed.items()
            if each.block.header.height > header.height
        }
        self._metrics.commit_seconds.observe(time.perf_counter() - start)
        self._count(final)
        for follower in self._followers:
            if follower.full():
                follower.get_nowait()
            follower.put_nowait(final)
        return final

    def subscribe(self) -> AsyncIterator[FinalBlock]:
        """Return final blocks from now on; a reader slower than the queue loses the oldest."""
        queue: asyncio.Queue[FinalBlock] = asyncio.Queue(FOLLOWER_QUEUE)
        # At once, not at the first read: no block between the two may be lost.
        self._followers.add(queue)
        return self._iterate(queue)

    async def _iterate(self, queue: asyncio.Queue[FinalBlock]) -> AsyncIterator[FinalBlock]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    def _get_parent(self, parent: bytes) -> tuple[StateView | None, Header | None]:
        if parent == self.head_hash:
            return self.view, self.head
        executed = self._executed.get(parent)
        if executed is None:
            return None, None
        return executed.executed.changes, executed.block.header

    def find_verified(self, transaction: Transaction, raw: bytes) -> VerifiedTransaction | None:
        """Return a transaction of these very bytes whose signature was checked on another way.

        It comes once from a client or the relay and once in a block, in either order.
        """
        waiting = self.mempool.find_same(transaction, raw)
        if waiting is not None:
            return waiting
        for each in list(self._executed.values()):
            known = each.by_signature.get(transaction.signature)
            if known is not None and known.raw == raw:
                return known
        return None

    def _keep(self, executed: ExecutedBlock) -> None:
        executed.by_signature.update(
            (verified.transaction.signature, verified) for verified in executed.transactions
        )
        self._executed[compute_header_hash(executed.block.header)] = executed

    async def _verify_signatures(self, block: Block) -> tuple[VerifiedTransaction, ...]:
        """Return the transactions as verified; what waits here was checked on its way in."""

        def verify(transactions: Sequence[Transaction]) -> list[VerifiedTransaction]:
            return [self._verify_signature(transaction) for transaction in transactions]

        loop, every = asyncio.get_running_loop(), block.transactions
        starts = range(0, len(every), SIGNATURES_AT_ONCE)
        parts = await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._executor, verify, every[start : start + SIGNATURES_AT_ONCE]
                )
                for start in starts
            )
        )
        return tuple(itertools.chain.from_iterable(parts))

    def _verify_signature(self, transaction: Transaction) -> VerifiedTransaction:
        raw = codec.encode(transaction)
        known = self.find_verified(transaction, raw)
        return known or verify_transaction(transaction, raw, self.rules.chain_id)

    def _count(self, final: FinalBlock) -> None:
        metrics = self._metrics
        metrics.blocks.inc()
        failed = sum(outcome.code != 0 for outcome in final.outcomes)
        metrics.transactions.labels("applied").inc(len(final.transactions) - failed)
        metrics.transactions.labels("failed").inc(failed)
        self.show_head()
        if final.transactions:
            log.info(
                "block final",
                block=final.header.height,
                hash=final.hash.hex(),
                transactions=len(final.transactions),
                failed=failed,
            )

    def show_head(self) -> None:
        """Set the gauges to the head's figures."""
        metrics, totals = self._metrics, get_totals(self.view)
        metrics.height.set(self.head.height)
        metrics.block_time.set(self.head.time / 1000)
        metrics.waiting.set(len(self.mempool))
        metrics.waiting_bytes.set(self.mempool.total_bytes)
        metrics.escrow.set(totals.escrows)
        for state in ("settled", "failed", "cancelled"):
            metrics.jobs.labels(state).set(getattr(totals, state))


def _list_nonces(ready: ExecutedBlock) -> dict[bytes, int]:
    """Return each sender of the block with its account's next nonce."""
    nonces: dict[bytes, int] = {}
    for verified in ready.transactions:
        sender = crypto.compute_address(verified.transaction.sender)
        account = ready.executed.changes.get(account_key(sender))
        assert isinstance(account, Account)
        nonces[sender] = account.nonce
    return nonces
