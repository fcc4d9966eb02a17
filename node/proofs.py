"""Checking settlement proofs once: verdicts kept by hash, and gathered into batches off the loop.

Rule P4. A batch of a hundred costs a third of a hundred single checks, so admission waits a few
milliseconds for company.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from ledger import settlement
from ledger.context import Rules
from ledger.rejection import Rejected
from ledger.state import StateView, get_job
from ledger.transactions import JobSettle, VerifiedTransaction
from zk.field import encode_field
from zk.verifier import AnyBackend, Item, verify, verify_batch
from zk.verifying_key import VerifyingKey

MAX_VERDICTS = 65_536
MAX_BATCH = 128
GATHER_SECONDS = 0.004


class ProofGate:
    """The node's one way to a verdict on a proof. Owned by the event loop."""

    def __init__(self, key: VerifyingKey, backend: AnyBackend, executor: Executor) -> None:
        self._key = key
        self._backend = backend
        self._executor = executor
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()
        self._gathered: list[tuple[Item, asyncio.Future[bool]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def verify_now(self, public: tuple[int, ...], proof: bytes) -> bool:
        """Return a verdict at once: `VerifyProof` of the ledger's rules."""
        name = _name((public, proof))
        verdict = self._verdicts.get(name)
        if verdict is None:
            verdict = verify(self._key, public, proof, self._backend)
            self._keep(name, verdict)
        return verdict

    async def verify_soon(self, public: tuple[int, ...], proof: bytes) -> bool:
        """Return a verdict from the next batch."""
        item = (public, proof)
        known = self._verdicts.get(_name(item))
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._gathered.append((item, future))
        if len(self._gathered) >= MAX_BATCH:
            self._start_batch()
        elif self._timer is None:
            self._timer = loop.call_later(GATHER_SECONDS, self._start_batch)
        return await future

    async def prepare(self, items: Sequence[Item]) -> None:
        """Learn the verdicts on a received block's proofs before the block is executed."""
        unknown = [item for item in items if _name(item) not in self._verdicts]
        for start in range(0, len(unknown), MAX_BATCH):
            batch = unknown[start : start + MAX_BATCH]
            verdicts = await self._run(lambda batch=batch: self._verify_batch(batch))  # type: ignore[misc]
            for item, verdict in zip(batch, verdicts, strict=True):
                self._keep(_name(item), verdict)

    def _start_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._gathered = self._gathered, []
        task = asyncio.create_task(self._finish_batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_batch(self, batch: list[tuple[Item, "asyncio.Future[bool]"]]) -> None:
        items = [item for item, _ in batch]
        try:
            verdicts = await self._run(lambda: self._verify_batch(items))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            raise
        for (item, future), verdict in zip(batch, verdicts, strict=True):
            self._keep(_name(item), verdict)
            if not future.done():
                future.set_result(verdict)

    def _verify_batch(self, items: Sequence[Item]) -> list[bool]:
        return verify_batch(self._key, items, self._backend)

    async def _run(self, work: Callable[[], list[bool]]) -> list[bool]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _keep(self, name: bytes, verdict: bool) -> None:
        self._verdicts[name] = verdict
        if len(self._verdicts) > MAX_VERDICTS:
            self._verdicts.popitem(last=False)


def list_proofs(
    rules: Rules, state: StateView, transactions: Sequence[VerifiedTransaction]
) -> list[Item]:
    """Return the proofs of a block that can be checked before it is executed on `state`.

    A settlement whose lease is not in the state fails by another rule, whatever its proof.
    """
    items: list[Item] = []
    for verified in transactions:
        payload = verified.transaction.payload
        if not isinstance(payload, JobSettle):
            continue
        job = get_job(state, payload.job)
        if job is None or job.lease is None:
            continue
        try:
            inputs = settlement.compute_public_inputs(
                rules.chain_id, rules.proof.key_id, job, job.lease, payload
            )
        except Rejected:
            continue
        items.append((inputs, payload.proof))
    return items


def _name(item: Item) -> bytes:
    public, proof = item
    return hashlib.sha256(b"".join(map(encode_field, public)) + proof).digest()
