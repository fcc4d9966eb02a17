"""Which offers can be accepted now: found without reading the state's other entries.

In memory, from the chain alone: the offers are read once, later ones as they come, and one that is
used up or withdrawn goes when a block says so. One whose time is over goes when it is next seen.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from coordinator.ports import Chain, FinalBlock
from ledger.entries import Offer, offer_key
from ledger.offers import find_obstacle
from ledger.outcomes import OfferAccepted, OfferCancelled
from ledger.state import get_miner, get_offer, get_totals

PAGE: Final = 512
"""Offers that are read in one turn of the event loop: some milliseconds."""
MAX_OPEN: Final = 200_000
"""Open offers that are kept in mind, the newest; of those before them only the ids are known."""
MAX_LABEL: Final = 64
"""Characters of a kind of work that no service of the registry names."""


class Listed(NamedTuple):
    """An open offer, as far as lists choose by it. `leaf` counts the state's entries."""

    leaf: int
    offer_id: bytes
    miner: str
    job_type: str
    service: str
    price: int
    ends_at: int
    """Working-clock time."""


class OfferPage(NamedTuple):
    """Some offers, newest first; `total` that there are of them, `rest` that follow."""

    offers: list[Listed]
    total: int
    rest: int


class OfferBook:
    """The open offers of the chain. Lives on the event loop."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._open: dict[bytes, Listed] = {}
        """By id, oldest first."""
        self._last_leaf = -1
        self._active: dict[str, bool] = {}
        """Whether a miner is active, as read at `_active_height`."""
        self._active_height = -1
        self._turn = asyncio.Lock()

    async def list_offers(
        self,
        job_type: str | None,
        max_price: int | None,
        before: int | None,
        offset: int,
        limit: int,
    ) -> OfferPage:
        """Return a page of the open offers of a kind up to a price, below a leaf, newest first."""
        await self._catch_up()
        clock = self._read_clock()
        over = [each.offer_id for each in self._open.values() if each.ends_at < clock]
        for offer_id in over:
            del self._open[offer_id]
        found = [
            each
            for each in self._open.values()
            if (job_type is None or job_type in (each.job_type, each.service))
            and (max_price is None or each.price <= max_price)
            and self._is_active(each.miner)
        ]
        found.reverse()
        total = len(found)
        if before is not None:
            found = [each for each in found if each.leaf < before]
        return OfferPage(found[offset : offset + limit], total, max(0, len(found) - offset - limit))

    def follow(self, blocks: Iterable[FinalBlock]) -> None:
        """Forget the offers that blocks withdrew or used up."""
        for block in blocks:
            for outcome in block.outcomes:
                for event in outcome.events:
                    if isinstance(event, OfferCancelled) or (
                        isinstance(event, OfferAccepted) and not event.left
                    ):
                        self._open.pop(event.offer, None)

    def _is_active(self, name: str) -> bool:
        height = self._chain.get_head().height
        if height != self._active_height:
            self._active.clear()
            self._active_height = height
        known = self._active.get(name)
        if known is None:
            miner = get_miner(self._chain.get_view(), name)
            known = self._active[name] = miner is not None and miner.is_active
        return known

    def _read_clock(self) -> int:
        return self._chain.get_head().time - get_totals(self._chain.get_view()).outage

    async def _catch_up(self) -> None:
        """Read the offers that were made since the last look."""
        async with self._turn:
            newest: list[tuple[int, bytes]] = []
            before = None
            while True:
                page = await self._chain.list_offer_ids(before, PAGE)
                fresh = [each for each in page if each[0] > self._last_leaf]
                newest += fresh
                if len(fresh) < PAGE or len(newest) >= MAX_OPEN:
                    break
                before = fresh[-1][0]
            newest.reverse()
            for start in range(0, len(newest), PAGE):
                self._read(newest[start : start + PAGE])
                await asyncio.sleep(0)
            while len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]

    def _read(self, ids: list[tuple[int, bytes]]) -> None:
        view, clock = self._chain.get_view(), self._read_clock()
        for leaf, offer_id in ids:
            offer = get_offer(view, offer_id)
            assert offer is not None and view.get_leaf(offer_key(offer_id)) == leaf
            if find_obstacle(offer, clock) is None:
                self._open[offer_id] = Listed(
                    leaf=leaf,
                    offer_id=offer_id,
                    miner=offer.miner,
                    job_type=get_job_type(offer),
                    service=offer.service,
                    price=offer.price,
                    ends_at=offer.ends_at,
                )
            self._last_leaf = leaf


def get_job_type(offer: Offer) -> str:
    """Return the kind of work that an offer is for: its label where it has one, or the service."""
    label = read_metadata(offer.metadata).get("job_type")
    return label if isinstance(label, str) and 0 < len(label) <= MAX_LABEL else offer.service


def read_metadata(metadata: bytes) -> dict[str, object]:
    """Return the members of an offer's metadata. Anybody may have written it: nothing can raise."""
    try:
        members = json.loads(metadata)
        # A lone surrogate cannot be sent to anybody who asks for the offer.
        json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
