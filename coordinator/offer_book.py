"""Which offers can be accepted now: found without reading the state's other entries.

In memory, from the chain alone: the offers are read once, later ones as they come, and one that is
used up or withdrawn goes when a block says so. One whose time is over goes with the next look.
"""

import asyncio
import json
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Final, NamedTuple

from coordinator.ports import Chain, FinalBlock
from coordinator.services.registry import AI_INFERENCE, CUSTOM_CODE, SERVICES
from ledger.entries import Offer, offer_key
from ledger.offers import find_obstacle
from ledger.outcomes import OfferAccepted, OfferCancelled
from ledger.state import get_miner, get_offer, get_totals
from ledger.transactions import MinerExit, MinerRegister, Payload

PAGE: Final = 512
"""Offers that are read in one turn of the event loop: some milliseconds."""
MAX_OPEN: Final = 200_000
"""Open offers that are kept in mind, the newest; of those before them only the ids are known."""
FEW: Final = 4_096
"""Offers up to a price, of a kind: so many are chosen by price and put in order."""
MAX_LABEL: Final = 64
"""Characters of a kind of work that no service of the registry names."""
MAX_BRACKETS: Final = 64
"""Opening brackets of metadata that is read. Each level has one; deep ones no answer can hold."""


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
    """Some offers, newest first, of so many in all; whether more of them follow."""

    offers: list[Listed]
    total: int
    has_more: bool


class _Group:
    """Open offers of one kind of work, in two orders: by age and by price."""

    def __init__(self) -> None:
        self.leaves: list[int] = []
        self.prices: list[tuple[int, int]] = []
        """Pairs of price and leaf."""

    def add(self, listed: Listed) -> None:
        insort(self.leaves, listed.leaf)
        insort(self.prices, (listed.price, listed.leaf))

    def remove(self, listed: Listed) -> None:
        del self.leaves[bisect_left(self.leaves, listed.leaf)]
        del self.prices[bisect_left(self.prices, (listed.price, listed.leaf))]

    def count(self, max_price: int | None) -> int:
        """Return how many offers there are up to a price."""
        if max_price is None:
            return len(self.leaves)
        return bisect_left(self.prices, (max_price + 1, -1))

    def iterate_leaves(self, max_price: int | None, before: int | None) -> Iterator[int]:
        """Yield leaves below one, from the newest on; above `max_price` as well if many fit."""
        leaves = self.leaves
        count = self.count(max_price)
        if count <= FEW:
            # Few among many would be looked for in vain for long.
            leaves = sorted(leaf for _, leaf in self.prices[:count])
        end = len(leaves) if before is None else bisect_left(leaves, before)
        return (leaves[place] for place in range(end - 1, -1, -1))


class OfferBook:
    """The open offers of the chain. Lives on the event loop."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._open: dict[int, Listed] = {}
        """By leaf, oldest first."""
        self._leaves: dict[bytes, int] = {}
        """By id, of the open ones."""
        self._groups: dict[str | None, _Group] = {None: _Group()}
        self._ends: list[tuple[int, int]] = []
        """A heap of the times at which offers end, with their leaves; some of closed ones too."""
        self._parked: dict[str, list[Listed]] = {}
        """By miner that has exited, offers that are open again when it is back."""
        self._parked_count = 0
        self._by_miner: dict[str, set[int]] = {}
        self._last_leaf = -1
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
        self._drop_ended()
        group = self._groups.get(job_type)
        if group is None:
            return OfferPage([], 0, False)
        offers = (self._open[leaf] for leaf in group.iterate_leaves(max_price, before))
        fitting = (each for each in offers if max_price is None or each.price <= max_price)
        found = list(islice(fitting, offset, offset + limit + 1))
        return OfferPage(found[:limit], group.count(max_price), len(found) > limit)

    def follow(self, blocks: Iterable[FinalBlock]) -> None:
        """Forget the offers that blocks withdrew or used up, and those of miners that left."""
        for block in blocks:
            for outcome in block.outcomes:
                for event in outcome.events:
                    if isinstance(event, OfferCancelled) or (
                        isinstance(event, OfferAccepted) and not event.left
                    ):
                        self._close(self._leaves.get(event.offer))
            own = block.outcomes[len(block.outcomes) - len(block.transactions) :]
            for transaction, outcome in zip(block.transactions, own, strict=True):
                if outcome.code == 0:
                    self._follow_miner(transaction.payload)

    def _follow_miner(self, payload: Payload) -> None:
        match payload:
            case MinerExit():
                leaves = list(self._by_miner.get(payload.miner, ()))
                for leaf in sorted(leaves):
                    self._park(self._close(leaf))
            case MinerRegister():
                back = self._parked.pop(payload.miner, [])
                self._parked_count -= len(back)
                for listed in back:
                    # Withdrawn meanwhile, it may be: the state says so.
                    self._open_again(listed)
            case _:
                pass

    def _park(self, listed: Listed | None) -> None:
        if listed is not None and self._parked_count < MAX_OPEN:
            self._parked.setdefault(listed.miner, []).append(listed)
            self._parked_count += 1

    def _open_again(self, listed: Listed) -> None:
        offer = get_offer(self._chain.get_view(), listed.offer_id)
        assert offer is not None
        if find_obstacle(offer, self._read_clock()) is None:
            self._add(listed)

    def _add(self, listed: Listed) -> None:
        self._open[listed.leaf] = listed
        self._leaves[listed.offer_id] = listed.leaf
        self._by_miner.setdefault(listed.miner, set()).add(listed.leaf)
        heappush(self._ends, (listed.ends_at, listed.leaf))
        for kind in {None, listed.job_type, listed.service}:
            self._groups.setdefault(kind, _Group()).add(listed)

    def _close(self, leaf: int | None) -> Listed | None:
        listed = self._open.pop(leaf, None) if leaf is not None else None
        if listed is None:
            return None
        del self._leaves[listed.offer_id]
        self._by_miner[listed.miner].discard(listed.leaf)
        if not self._by_miner[listed.miner]:
            del self._by_miner[listed.miner]
        for kind in {None, listed.job_type, listed.service}:
            group = self._groups[kind]
            group.remove(listed)
            if kind is not None and not group.leaves:
                del self._groups[kind]
        return listed

    def _drop_ended(self) -> None:
        clock = self._read_clock()
        while self._ends and self._ends[0][0] < clock:
            self._close(heappop(self._ends)[1])

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
                self._close(next(iter(self._open)))

    def _read(self, ids: list[tuple[int, bytes]]) -> None:
        view, clock = self._chain.get_view(), self._read_clock()
        for leaf, offer_id in ids:
            self._last_leaf = leaf
            offer = get_offer(view, offer_id)
            assert offer is not None and view.get_leaf(offer_key(offer_id)) == leaf
            if find_obstacle(offer, clock) is not None:
                continue
            listed = Listed(
                leaf=leaf,
                offer_id=offer_id,
                miner=offer.miner,
                job_type=get_job_type(offer),
                service=offer.service,
                price=offer.price,
                ends_at=offer.ends_at,
            )
            miner = get_miner(view, offer.miner)
            if miner is not None and miner.is_active:
                self._add(listed)
            else:
                self._park(listed)


def get_job_type(offer: Offer) -> str:
    """Return the kind of work that an offer is for: its service, or of code what it calls it.

    A service's own name on an offer for something else would only put it into the wrong list.
    """
    if offer.service != CUSTOM_CODE:
        return offer.service
    label = read_metadata(offer.metadata).get("job_type")
    if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL:
        return offer.service
    return offer.service if label in SERVICES or label == AI_INFERENCE else label


def read_metadata(metadata: bytes) -> dict[str, object]:
    """Return the members of an offer's metadata. Anybody may have written it: nothing can raise."""
    if metadata.count(b"[") + metadata.count(b"{") > MAX_BRACKETS:
        return {}
    try:
        members = json.loads(metadata)
        # A lone surrogate cannot be sent to anybody who asks for the offer.
        json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
