"""The marketplace's routes: offers of miners, accepted by clients for a job of their own.

A kind of work that is no service of the registry can only be code that a job brings: such an offer
is one for `custom_code` under the name that it gives, and suits jobs of that name or type.
"""

from typing import Any, Final

import rfc8785

from coordinator import marketplace, wire
from coordinator.http.listing import build_page
from coordinator.http.market_models import (
    Accepted,
    AcceptRequest,
    MarketStats,
    OfferList,
    OfferRequest,
    OfferShown,
    OffersQuery,
    WithdrawRequest,
)
from coordinator.http.miner_jobs import read_signed, resolve_miner
from coordinator.http.problems import Problem, invalid, not_found
from coordinator.http.routing import CLIENTS, MINERS, PUBLIC, Answer, Call, Route
from coordinator.marketplace import Draft, PriceRefused, Sent, SignatureNeeded
from coordinator.offer_book import MAX_BRACKETS, get_job_type, read_metadata
from coordinator.services.registry import AI_INFERENCE, CUSTOM_CODE, SERVICES
from coordinator.statistics import compute_figures
from ledger import codec
from ledger.entries import Offer
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner, get_offer, get_totals
from ledger.transactions import MAX_METADATA_BYTES

_BILLING: Final = ("per_unit", "per_second")


async def create(call: Call) -> Answer:
    body = call.get_body(OfferRequest)
    draft = _read_draft(body, await resolve_miner(call, body.miner_id))
    signed = read_signed(call, body.transaction)
    try:
        sent = await marketplace.create_offer(
            call.coordinator, call.caller, draft, call.idempotency_key, signed
        )
    except SignatureNeeded as needed:
        raise _ask_signature(needed) from None
    offer = get_offer(call.coordinator.chain.get_view(), sent.offer_id)
    if offer is None:
        return Answer(_view_draft(call, draft, body, sent), 201)
    return Answer(_view(call, sent.offer_id, offer, sent.transaction), 201)


def _read_draft(body: OfferRequest, miner: str) -> Draft:
    """Return the offer that a body asks for. Raises `Problem` (400 `INVALID_JOB_TYPE`, 422)."""
    if body.job_type == AI_INFERENCE:
        raise Problem(400, "ai-inference is every service: offer one", "INVALID_JOB_TYPE")
    service = SERVICES.get(body.job_type, SERVICES[CUSTOM_CODE])
    price = wire.parse_ait(body.price)
    if price == 0:
        raise invalid("/price", "an offer's price is above 0")
    members: dict[str, Any] = {"requirements": body.requirements.model_dump(exclude_none=True)}
    if body.job_type not in SERVICES:
        members["job_type"] = body.job_type
    try:
        metadata = rfc8785.dumps(members)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise invalid("/requirements", f"has no canonical form: {error}") from None
    if len(metadata) > MAX_METADATA_BYTES:
        raise invalid("/requirements", f"an offer carries at most {MAX_METADATA_BYTES} bytes")
    if not read_metadata(metadata):
        raise invalid("/requirements", f"an offer has at most {MAX_BRACKETS} opening brackets")
    return Draft(
        miner=miner,
        service=service.service_id,
        billing=service.billing,
        price=price,
        max_jobs=body.max_jobs,
        metadata=metadata,
        duration_ms=body.duration * 1000,
    )


async def list_offers(call: Call) -> Answer:
    query = call.get_query(OffersQuery)
    try:
        max_price = None if query.max_price is None else wire.parse_ait(query.max_price)
    except ValueError as error:
        raise invalid("/max_price", str(error)) from None
    before = None if query.cursor is None else int(query.cursor)
    page = await call.coordinator.offers.list_offers(
        query.job_type, max_price, before, query.offset, query.limit
    )
    view = call.coordinator.chain.get_view()
    found = [(each, get_offer(view, each.offer_id)) for each in page.offers]
    items = [_view(call, each.offer_id, offer) for each, offer in found if offer is not None]
    last = page.offers[-1].leaf if page.offers else None
    return Answer(build_page("offers", items, page.total, query, last, int(page.has_more)))


async def show(call: Call) -> Answer:
    offer_id = _read_offer_id(call)
    return Answer(_view(call, offer_id, marketplace.require_offer(call.coordinator, offer_id)))


async def accept(call: Call) -> Answer:
    body = call.get_body(AcceptRequest)
    offer_id, job_id = _read_offer_id(call), wire.parse_id(body.job_id, wire.JOB_PREFIX)
    if job_id is None:
        raise not_found()
    bid = None if body.bid_price is None else wire.parse_ait(body.bid_price)
    signed = read_signed(call, body.transaction)
    try:
        sent = await marketplace.accept_offer(
            call.coordinator, call.caller, offer_id, job_id, bid, signed
        )
    except SignatureNeeded as needed:
        raise _ask_signature(needed) from None
    except PriceRefused as refused:
        raise _refuse_price(refused) from None
    except Rejected as rejected:
        if rejected.reason is Rejection.MINER_NOT_ACTIVE:
            raise Problem(410, "the offer's miner has exited", "OFFER_NOT_AVAILABLE") from None
        raise
    offer = marketplace.require_offer(call.coordinator, offer_id)
    assert sent.transaction is not None
    return Answer(
        Accepted(
            transaction_id=wire.format_transaction_id(sent.transaction),
            status="accepted" if sent.is_final else "pending",
            created_at=wire.format_time(sent.created_ms),
            offer_id=wire.format_offer_id(offer_id),
            job_id=wire.format_job_id(job_id),
            miner_id=offer.miner,
            price=wire.format_ait(offer.price),
            price_base=str(offer.price),
        )
    )


async def withdraw(call: Call) -> Answer:
    offer_id = _read_offer_id(call)
    body = call.body if isinstance(call.body, WithdrawRequest) else WithdrawRequest()
    signed = read_signed(call, body.transaction)
    try:
        sent = await marketplace.cancel_offer(call.coordinator, call.caller, offer_id, signed)
    except SignatureNeeded as needed:
        raise _ask_signature(needed) from None
    offer = marketplace.require_offer(call.coordinator, offer_id)
    return Answer(_view(call, offer_id, offer, sent.transaction))


async def show_stats(call: Call) -> Answer:
    totals = await call.coordinator.market.compute_totals()
    members = totals._asdict()
    volume = members.pop("total_volume")
    return Answer(
        MarketStats(**members, total_volume=wire.format_ait(volume), total_volume_base=str(volume))
    )


def _read_offer_id(call: Call) -> bytes:
    offer_id = wire.parse_id(call.path["offer_id"], wire.OFFER_PREFIX)
    if offer_id is None:
        raise not_found("offer")
    return offer_id


def _view(
    call: Call, offer_id: bytes, offer: Offer, transaction: bytes | None = None
) -> OfferShown:
    view = call.coordinator.chain.get_view()
    miner = get_miner(view, offer.miner)
    assert miner is not None
    requirements = read_metadata(offer.metadata).get("requirements")
    return OfferShown(
        offer_id=wire.format_offer_id(offer_id),
        miner_id=offer.miner,
        job_type=get_job_type(offer),
        service=offer.service,
        billing=_BILLING[offer.billing],
        price=wire.format_ait(offer.price),
        price_base=str(offer.price),
        reputation=compute_figures(miner).reputation,
        status=marketplace.describe_status(call.coordinator, offer),
        max_jobs=offer.max_jobs,
        accepted_jobs=offer.accepted,
        requirements=requirements if isinstance(requirements, dict) else {},
        created_at=wire.format_time(offer.created_at),
        expires_at=wire.format_time(offer.ends_at + get_totals(view).outage),
        transaction_id=None if transaction is None else wire.format_transaction_id(transaction),
    )


def _view_draft(call: Call, draft: Draft, body: OfferRequest, sent: Sent) -> OfferShown:
    """Return an offer whose transaction no block holds yet."""
    miner = get_miner(call.coordinator.chain.get_view(), draft.miner)
    assert miner is not None and sent.transaction is not None
    return OfferShown(
        offer_id=wire.format_offer_id(sent.offer_id),
        miner_id=draft.miner,
        job_type=body.job_type,
        service=draft.service,
        billing=_BILLING[draft.billing],
        price=wire.format_ait(draft.price),
        price_base=str(draft.price),
        reputation=compute_figures(miner).reputation,
        status="pending",
        max_jobs=draft.max_jobs,
        accepted_jobs=0,
        requirements=body.requirements.model_dump(exclude_none=True),
        created_at=wire.format_time(sent.created_ms),
        expires_at=wire.format_time(sent.created_ms + draft.duration_ms),
        transaction_id=wire.format_transaction_id(sent.transaction),
    )


def _ask_signature(needed: SignatureNeeded) -> Problem:
    return Problem(
        422,
        "this account signs by itself: send `transaction`",
        "SIGNATURE_NEEDED",
        members={"payload": codec.encode(needed.payload).hex()},
    )


def _refuse_price(refused: PriceRefused) -> Problem:
    price = {"price": wire.format_ait(refused.price), "price_base": str(refused.price)}
    limit = wire.format_ait(refused.limit)
    if refused.is_bid:
        detail = f"the offer's price is {price['price']} AIT per unit, the bid {limit}"
        return Problem(409, detail, "BID_TOO_LOW", members=price)
    detail = f"the offer's price is {price['price']} AIT per unit, the job pays at most {limit}"
    return Problem(409, detail, "PRICE_OVER_JOB_MAXIMUM", members=price)


_PATH: Final = "/v1/marketplace/offers"
_TAG: Final = "Marketplace"

ROUTES = (
    Route(
        "POST", _PATH, create, "Offer work at a price", _TAG,
        roles=MINERS, body=OfferRequest, answers={201: OfferShown},
    ),
    Route(
        "GET", _PATH, list_offers, "List the offers that can be accepted", _TAG,
        roles=PUBLIC, query=OffersQuery, answers={200: OfferList},
    ),
    Route(
        "GET", f"{_PATH}/{{offer_id}}", show, "Get an offer", _TAG,
        roles=PUBLIC, answers={200: OfferShown},
    ),
    Route(
        "POST", f"{_PATH}/{{offer_id}}/accept", accept, "Accept an offer for a job", _TAG,
        roles=CLIENTS, body=AcceptRequest, answers={200: Accepted},
    ),
    Route(
        "DELETE", f"{_PATH}/{{offer_id}}", withdraw, "Withdraw an offer", _TAG,
        roles=MINERS, body=WithdrawRequest, is_body_optional=True, answers={200: OfferShown},
    ),
    Route(
        "GET", "/v1/marketplace/stats", show_stats, "Get the market's totals", _TAG,
        roles=PUBLIC, answers={200: MarketStats},
    ),
)  # fmt: skip
