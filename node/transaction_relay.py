"""Carrying accepted transactions to the authorities, so that any of them may propose them.

A transaction is durable where it was accepted, and that node sends it until a block has it: a lost
frame, a silent leader or a full mempool costs time, never the transaction (rule L8).
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ledger.rejection import Rejected
from node.admission import Admission
from node.mempool import Mempool
from node.metrics import Metrics
from node.peer_messages import MAX_BATCH, MAX_BATCH_BYTES, TransactionBatch, encode_news
from node.peers import Peers
from p2p.interface import Session

GATHER_SECONDS: Final = 0.005
"""Transactions that are accepted within this time share a frame."""

REPEAT_SECONDS: Final = 2.0
"""How often what this node accepted and no block has is sent again."""

MAX_QUEUED: Final = 64
"""Frames that wait to be checked; further ones are dropped, and come again."""


class TransactionRelay:
    """Outgoing: what was accepted here. Incoming: what others accepted."""

    def __init__(self, peers: Peers, mempool: Mempool, metrics: Metrics) -> None:
        self._peers = peers
        self._mempool = mempool
        self._metrics = metrics
        self._fresh: list[bytes] = []
        self._has_fresh = asyncio.Event()
        self._incoming: asyncio.Queue[tuple[Session, TransactionBatch]] = asyncio.Queue(MAX_QUEUED)

    def send(self, raws: Iterable[bytes]) -> None:
        """Send transactions soon, together with what else comes."""
        self._fresh.extend(raws)
        if self._fresh:
            self._has_fresh.set()

    def on_joined(self, session: Session) -> None:
        """Send all that waits here to an authority that has just come."""
        if self._peers.is_authority(session):
            waiting = (each.verified.raw for each in self._mempool.iterate_own())
            self._peers.send_transactions_to(session.number, encode_batches(waiting))

    def take(self, session: Session, batch: TransactionBatch) -> None:
        """Queue a peer's transactions for their checks."""
        try:
            self._incoming.put_nowait((session, batch))
        except asyncio.QueueFull:
            self._metrics.peer_drops.labels("transactions_queue_full").inc(len(batch.transactions))

    async def run(self, admission: Admission) -> None:
        """Send and check until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_fresh())
            group.create_task(self._send_again())
            group.create_task(self._check_incoming(admission))

    async def _send_fresh(self) -> None:
        while True:
            await self._has_fresh.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._has_fresh.clear()
            fresh, self._fresh = self._fresh, []
            self._peers.send_transactions(encode_batches(fresh))

    async def _send_again(self) -> None:
        last = self._mempool.next_sequence
        while True:
            await asyncio.sleep(REPEAT_SECONDS)
            # Only what was here a whole interval ago: the rest is on its way.
            old = [each for each in self._mempool.iterate_own() if each.sequence < last]
            last = self._mempool.next_sequence
            self._peers.send_transactions(encode_batches(each.verified.raw for each in old))

    async def _check_incoming(self, admission: Admission) -> None:
        while True:
            session, batch = await self._incoming.get()
            verdicts = await admission.submit_relayed(batch.transactions)
            reasons = Counter(each.reason for each in verdicts if isinstance(each, Rejected))
            for reason, count in reasons.items():
                self._metrics.peer_drops.labels(f"transaction_{reason.name.lower()}").inc(count)
            if not self._peers.is_authority(session):
                # An observer may know no other authority than this one.
                pairs = zip(batch.transactions, verdicts, strict=True)
                self.send(raw for raw, verdict in pairs if isinstance(verdict, bytes))


def encode_batches(raws: Iterable[bytes]) -> Iterator[bytes]:
    """Return frames that hold the transactions, in order."""
    batch: list[bytes] = []
    size = 0
    for raw in raws:
        if len(batch) == MAX_BATCH or size + len(raw) > MAX_BATCH_BYTES:
            yield encode_news(TransactionBatch(tuple(batch)))
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield encode_news(TransactionBatch(tuple(batch)))
