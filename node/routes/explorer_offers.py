"""The explorer's offers: every one that was ever made, and an offer with what became of it."""

import asyncio
from typing import Any

from coordinator import wire
from coordinator.http.problems import not_found
from coordinator.http.routing import Answer, Call, Route
from ledger import crypto
from ledger.entries import Offer, offer_key
from ledger.offers import find_obstacle
from ledger.rejection import Rejection
from ledger.state import StateView, get_offer
from node.routes import models, records
from node.routes.answers import build_item_routes, build_list_routes, require_hash
from node.routes.models import PageQuery
from node.routes.reader import ChainReader

_STATES = {
    None: "open",
    Rejection.OFFER_CANCELLED: "cancelled",
    Rejection.OFFER_EXPIRED: "expired",
    Rejection.OFFER_USED_UP: "used_up",
}


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of offers."""

    async def list_offers(before: int | None, limit: int) -> list[models.Offer]:
        ids = await reader.port.list_offer_ids(before, limit)
        return await asyncio.to_thread(
            _describe_all, reader.view, ids, reader.port.get_head().time, reader.outage
        )

    async def show_offer(call: Call) -> Answer:
        query = call.get_query(PageQuery)
        return Answer(await describe_offer(reader, call.path["offer"], query))

    return (
        *build_list_routes(
            "/explorer/offers", list_offers, models.Offer, models.Offers, "Offers, newest first"
        ),
        *build_item_routes(
            "/explorer/offers/{offer}", show_offer, models.OfferDetail,
            "An offer, what was done to it and its proof", PageQuery,
        ),
    )  # fmt: skip


async def describe_offer(reader: ChainReader, text: str, query: PageQuery) -> models.OfferDetail:
    """Return an offer with a page of its transactions. Raises `Problem(404)`."""
    offer_id = require_hash(text, "offer", wire.OFFER_PREFIX)
    offer, pending = get_offer(reader.view, offer_id), reader.begin_proof(offer_key(offer_id))
    if offer is None or pending is None:
        raise not_found("offer")
    members = _describe(offer_id, offer, reader.port.get_head().time, reader.outage)
    placed = await reader.history.list_offer_transactions(offer_id, query.start, query.limit + 1)
    has_more = len(placed) > query.limit
    shown = await asyncio.to_thread(records.describe_placed, placed[: query.limit])
    return models.OfferDetail(
        **members,
        transactions=shown,
        next_cursor=shown[-1].cursor if has_more else None,
        height=pending.header.height,
        proof=await reader.finish_proof(pending),
    )


def _describe_all(
    view: StateView, ids: list[tuple[int, bytes]], time: int, outage: int
) -> list[models.Offer]:
    found = ((leaf, offer_id, get_offer(view, offer_id)) for leaf, offer_id in ids)
    return [
        models.Offer(**_describe(offer_id, offer, time, outage), cursor=str(leaf))
        for leaf, offer_id, offer in found
        if offer is not None
    ]


def _describe(offer_id: bytes, offer: Offer, time: int, outage: int) -> dict[str, Any]:
    return {
        "offer_id": wire.format_offer_id(offer_id),
        "miner_id": offer.miner,
        "owner": crypto.format_address(offer.owner),
        "service": offer.service,
        "billing": records.name_billing(offer.billing),
        **records.write_money("price", offer.price),
        "max_jobs": offer.max_jobs,
        "accepted": offer.accepted,
        "state": _STATES[find_obstacle(offer, time - outage)],
        "created_at": wire.format_time(offer.created_at),
        "expires_at": wire.format_time(offer.ends_at + outage),
        "metadata": records.read_metadata(offer.metadata),
    }
