"""How the marketplace's calls are written: offers of miners, accepted for one job each."""

from typing import Any

from aitbc.calls.common import (
    JSON,
    choose_key,
    drop_nulls,
    get,
    get_page,
    post,
    quote,
)
from aitbc.market_models import Acceptance, MarketStats, Offer
from aitbc.models import Page
from aitbc.steps import Call


def create_offer(
    offer: JSON | None = None, *, idempotency_key: str | None = None, **members: Any
) -> Call[Offer]:
    """Offer work at a price, as a miner: `job_type, price, max_jobs, requirements, duration`."""
    body = {**(offer or {}), **members}
    return post("/v1/marketplace/offers", body, Offer, choose_key(idempotency_key))


def get_offer(offer_id: str) -> Call[Offer]:
    """Return an offer as the chain holds it, whether or not it can be accepted."""
    return get(f"/v1/marketplace/offers/{quote(offer_id)}", Offer)


def list_offers(
    *,
    job_type: str | None = None,
    max_price: str | None = None,
    limit: int = 50,
    offset: int | None = None,
    cursor: str | None = None,
) -> Call[Page[Offer]]:
    """Return a page of the offers that can be accepted now."""
    query = {
        "job_type": job_type,
        "max_price": max_price,
        "limit": limit,
        "offset": offset,
        "cursor": cursor,
    }
    return get_page("/v1/marketplace/offers", query, "offers", Offer)


def accept_offer(
    offer_id: str,
    job_id: str,
    *,
    bid_price: str | None = None,
    transaction: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Acceptance]:
    """Accept an offer for a job of one's own, which locks its price for that job.

    Raises `OfferNotAvailableError` once it is taken, withdrawn or expired.
    """
    body = {"job_id": job_id, "bid_price": bid_price, "transaction": transaction}
    path = f"/v1/marketplace/offers/{quote(offer_id)}/accept"
    return post(path, drop_nulls(body), Acceptance, choose_key(idempotency_key))


def cancel_offer(offer_id: str, *, transaction: str | None = None) -> Call[Offer]:
    """Withdraw an offer; jobs that accepted it keep its price."""
    body = drop_nulls({"transaction": transaction}) or None
    path = f"/v1/marketplace/offers/{quote(offer_id)}"
    return Call("DELETE", path, Offer.model_validate, body=body, is_repeatable=True)


def get_market_stats() -> Call[MarketStats]:
    """Return the market's totals, computed from the chain."""
    return get("/v1/marketplace/stats", MarketStats)
