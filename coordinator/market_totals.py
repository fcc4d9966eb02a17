"""The market in numbers, from the chain's state alone."""

from typing import Final, NamedTuple

from coordinator.ports import Chain
from ledger.state import get_totals

MAX_MINERS: Final = 10_000
"""Of more, the average time is that of those that registered last."""
KEPT_BLOCKS: Final = 8
"""For so many heights the average time stands: it is a sum over all miners."""


class MarketTotals(NamedTuple):
    """Jobs by their end, the seconds from claim to settlement, and base units settled."""

    total_jobs: int
    active_jobs: int
    completed_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    average_completion_time: float
    total_volume: int
    active_miners: int


class Market:
    """Reads the totals; on the event loop."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._average = 0.0
        self._height = -KEPT_BLOCKS

    async def compute_totals(self) -> MarketTotals:
        """Return the totals after the head."""
        average = await self._get_average()
        totals = get_totals(self._chain.get_view())
        ended = totals.settled + totals.failed + totals.cancelled
        return MarketTotals(
            total_jobs=totals.jobs,
            active_jobs=totals.jobs - ended,
            completed_jobs=totals.settled,
            failed_jobs=totals.failed,
            cancelled_jobs=totals.cancelled,
            average_completion_time=average,
            total_volume=totals.volume,
            active_miners=totals.miners,
        )

    async def _get_average(self) -> float:
        height = self._chain.get_head().height
        if height - self._height >= KEPT_BLOCKS:
            miners = [miner for _, miner in await self._chain.list_miners(MAX_MINERS)]
            settled = sum(miner.settled for miner in miners)
            busy = sum(miner.busy_time for miner in miners)
            self._average = round(busy / settled / 1000, 3) if settled else 0.0
            self._height = height
        return self._average
