"""Signed transfers in the background, and exactly which of them a node said it has accepted.

Each account is a line of its own: its next transfer leaves when the one before was accepted. A
transfer whose answer never came is sent again, the same bytes, to the nodes in turn; a node that
lacks an earlier one of the line refuses it until it has heard of that.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from aitbc.wallet import SignedTransaction, Wallet
from ledger.transactions import Payload, Transfer
from tests.e2e.cluster.nodes import ClusterNode, NodeDown

RATE: Final = 60
"""Transfers a second of all accounts together."""

VALID_BLOCKS: Final = 50_000
RETRY_SECONDS: Final = 0.2


class Line:
    """One account's transfers, in the order of their nonces."""

    def __init__(self, wallet: Wallet, home: int) -> None:
        self.wallet = wallet
        self.home = home
        """Which node it sends to as long as that answers."""
        self.nonce = 0
        self.unanswered: SignedTransaction | None = None


class Accepted(NamedTuple):
    """A node's word that a transaction will be final."""

    node: str
    moment: float


class Load:
    """A generator that can be started and stopped; what was accepted is kept for good."""

    def __init__(
        self,
        nodes: Sequence[ClusterNode],
        wallets: Sequence[Wallet],
        payee: bytes,
        chain_id: bytes,
        fee_rate: int,
    ) -> None:
        self.accepted: dict[str, Accepted] = {}
        """By transaction id."""
        self.payee = payee
        self.lines = [Line(wallet, index % len(nodes)) for index, wallet in enumerate(wallets)]
        self._nodes = nodes
        self._chain_id = chain_id
        self._fee_rate = fee_rate
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send, or go on."""
        assert not self._tasks
        self._tasks = [asyncio.create_task(self._run(index)) for index in range(len(self.lines))]

    async def stop(self) -> None:
        """Send nothing more. What was under way may have been accepted without our knowing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def send_one(self, index: int, node: int) -> str:
        """Send one transfer of a line to a node, which must accept it; return its id."""
        line = self.lines[index]
        signed = line.unanswered or self._sign(line)
        name = await self._nodes[node].submit(signed.raw)
        assert name is not None, f"{self._nodes[node].name} refused a transfer"
        self._note(line, name, node)
        return name

    def sign(self, wallet: Wallet, payload: Payload, nonce: int) -> SignedTransaction:
        """Return a transaction of any kind for this chain."""
        return wallet.sign(
            payload,
            chain_id=self._chain_id,
            nonce=nonce,
            fee_rate=self._fee_rate,
            valid_until=VALID_BLOCKS,
        )

    async def _run(self, index: int) -> None:
        line, interval = self.lines[index], len(self.lines) / RATE
        due = time.perf_counter() + interval * index / len(self.lines)
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            # Late ones are not made up for: after an outage the load is as before.
            due = max(due + interval, time.perf_counter() - interval)
            await self._send(line)

    async def _send(self, line: Line) -> None:
        """Send a line's next transfer until a node accepts it."""
        if line.unanswered is None:
            line.unanswered = self._sign(line)
        node = line.home
        while True:
            if self._nodes[node].is_running:
                try:
                    name = await self._nodes[node].submit(line.unanswered.raw)
                except NodeDown:
                    name = None
                if name is not None:
                    self._note(line, name, node)
                    return
            node = (node + 1) % len(self._nodes)
            await asyncio.sleep(RETRY_SECONDS)

    def _sign(self, line: Line) -> SignedTransaction:
        return self.sign(line.wallet, Transfer(self.payee, 1), line.nonce)

    def _note(self, line: Line, name: str, node: int) -> None:
        line.nonce += 1
        line.unanswered = None
        self.accepted[name] = Accepted(self._nodes[node].name, time.perf_counter())
