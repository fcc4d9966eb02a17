"""Who is there to do work: the registered miners and what each announced on the chain.

For questions that are about all miners: whether anybody can do a kind of job, what is on offer.
Which miner gets a job is decided by `offering.py`, from that miner's own entry.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from coordinator.matching import Announcement, Requirements, find_mismatch, read_announcement
from coordinator.ports import Chain, FinalBlock
from ledger.transactions import MinerExit, MinerRegister, MinerUpdate
from ledger.types import MAX_AMOUNT

MAX_MINERS: Final = 10_000
"""Of more, those that registered last are looked at."""
ANY_HARDWARE: Final = Requirements()


class Offered(NamedTuple):
    """An active miner and what it announces."""

    miner: str
    announced: Announcement
    registered_ms: int
    """Header time of its first registration."""


class Fleet:
    """The active miners, read from the state again once a block has changed any of them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._offered: tuple[Offered, ...] | None = None

    def follow(self, blocks: Iterable[FinalBlock]) -> None:
        """Look again after blocks in which a miner came, went or announced something."""
        if any(
            isinstance(transaction.payload, MinerRegister | MinerUpdate | MinerExit)
            for block in blocks
            for transaction in block.transactions
        ):
            self._offered = None

    async def list_offered(self) -> Sequence[Offered]:
        """Return every active miner with its announcement."""
        while (offered := self._offered) is None:
            height = self._chain.get_head().height
            miners = await self._chain.list_miners(MAX_MINERS)
            found = tuple(
                Offered(name, read_announcement(miner.metadata), miner.registered_at)
                for name, miner in miners
                if miner.is_active
            )
            if self._chain.get_head().height == height:
                self._offered = found
        return offered

    async def can_do(
        self, service: str, model: str, requirements: Requirements = ANY_HARDWARE
    ) -> bool:
        """Tell whether an active miner announces a service and a model, at whatever price."""
        return any(
            find_mismatch(offered.announced, service, model, MAX_AMOUNT, requirements) is None
            for offered in await self.list_offered()
        )

    async def count_kinds(self) -> Counter[str]:
        """Return how many active miners announce each service or model."""
        counts: Counter[str] = Counter()
        for offered in await self.list_offered():
            counts.update({*offered.announced.capabilities, *offered.announced.models})
        return counts
