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
MANY: Final = 64
"""Changes at once for which a list is built anew; one by one, each moves all that is behind it."""
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

    def add(self, offers: list[Listed]) -> None:
        if len(offers) >= MANY:
            self.leaves = sorted(self.leaves + [each.leaf for each in offers])
            self.prices = sorted(self.prices + [(each.price, each.leaf) for each in offers])
            return
        for each in offers:
            insort(self.leaves, each.leaf)
            insort(self.prices, (each.price, each.leaf))

    def remove(self, offers: list[Listed]) -> None:
        if len(offers) >= MANY:
            gone = {each.leaf for each in offers}
            self.leaves = [leaf for leaf in self.leaves if leaf not in gone]
            self.prices = [pair for pair in self.prices if pair[1] not in gone]
            return
        for each in offers:
            del self.leaves[bisect_left(self.leaves, each.leaf)]
            del self.prices[bisect_left(self.prices, (each.price, each.leaf))]

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
        self._returned: list[tuple[int, bytes]] = []
        """Leaves and ids of offers whose miner is back; the next look reads what became of them."""
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
            over = {
                self._leaves[event.offer]
                for outcome in block.outcomes
                for event in outcome.events
                if (isinstance(event, OfferAccepted) and not event.left)
                or isinstance(event, OfferCancelled)
                if event.offer in self._leaves
            }
            self._close(over)
            own = block.outcomes[len(block.outcomes) - len(block.transactions) :]
            for transaction, outcome in zip(block.transactions, own, strict=True):
                if outcome.code == 0:
                    self._follow_miner(transaction.payload)

    def _follow_miner(self, payload: Payload) -> None:
        match payload:
            case MinerExit():
                for listed in self._close(sorted(self._by_miner.get(payload.miner, ()))):
                    self._park(listed)
            case MinerRegister():
                back = self._parked.pop(payload.miner, [])
                self._parked_count -= len(back)
                self._returned += [(each.leaf, each.offer_id) for each in back]
            case _:
                pass

    def _park(self, listed: Listed) -> None:
        if self._parked_count < MAX_OPEN:
            self._parked.setdefault(listed.miner, []).append(listed)
            self._parked_count += 1

    def _add(self, offers: list[Listed]) -> None:
        for each in offers:
            self._open[each.leaf] = each
            self._leaves[each.offer_id] = each.leaf
            self._by_miner.setdefault(each.miner, set()).add(each.leaf)
        for kind, some in _sort_by_kind(offers).items():
            self._groups.setdefault(kind, _Group()).add(some)

    def _close(self, leaves: Iterable[int]) -> list[Listed]:
        """Forget some offers; return those of them that were open."""
        closed = [self._open.pop(leaf) for leaf in leaves if leaf in self._open]
        for each in closed:
            del self._leaves[each.offer_id]
            own = self._by_miner[each.miner]
            own.discard(each.leaf)
            if not own:
                del self._by_miner[each.miner]
        for kind, some in _sort_by_kind(closed).items():
            group = self._groups[kind]
            group.remove(some)
            if kind is not None and not group.leaves:
                del self._groups[kind]
        return closed

    async def _drop_ended(self) -> None:
        while True:
            clock = self._read_clock()
            ended: set[int] = set()
            while self._ends and self._ends[0][0] < clock and len(ended) < FEW:
                ended.add(heappop(self._ends)[1])
            self._close(ended)
            if len(ended) < FEW:
                return
            await asyncio.sleep(0)

    def _read_clock(self) -> int:
        return self._chain.get_head().time - get_totals(self._chain.get_view()).outage

    async def _catch_up(self) -> None:
        """Read the offers that were made, or are back, since the last look; drop those over."""
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
            while self._returned:
                self._read(self._returned[:PAGE])
                del self._returned[:PAGE]
                await asyncio.sleep(0)
            for start in range(0, len(newest), PAGE):
                self._read(newest[start : start + PAGE])
                await asyncio.sleep(0)
            self._close(list(islice(self._open, max(0, len(self._open) - MAX_OPEN))))
            await self._drop_ended()

    def _read(self, ids: list[tuple[int, bytes]]) -> None:
        view, clock = self._chain.get_view(), self._read_clock()
        found = []
        for leaf, offer_id in ids:
            is_new = leaf > self._last_leaf
            self._last_leaf = max(self._last_leaf, leaf)
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
            if is_new:
                heappush(self._ends, (offer.ends_at, leaf))
            miner = get_miner(view, offer.miner)
            if miner is not None and miner.is_active:
                found.append(listed)
            else:
                self._park(listed)
        self._add(found)


def _sort_by_kind(offers: list[Listed]) -> dict[str | None, list[Listed]]:
    """Return the offers of each list that they are in; that of all has no name."""
    kinds: dict[str | None, list[Listed]] = {None: offers} if offers else {}
    for each in offers:
        for kind in {each.job_type, each.service}:
            kinds.setdefault(kind, []).append(each)
    return kinds


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
