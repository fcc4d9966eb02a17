"""The bodies and answers of the marketplace's routes."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from coordinator import wire
from coordinator.http.job_models import Ait, JsonObject, PageQuery, Shown, Strict
from coordinator.http.miner_models import MinerName, SignedHex
from coordinator.matching import parse_memory
from coordinator.offer_book import MAX_LABEL
from ledger.transactions import MAX_OFFERED_JOBS

MAX_SECONDS: Final = 366 * 86_400
_CORES: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?|[0-9]{1,7}m", re.ASCII)


def _check_memory(text: str) -> str:
    parse_memory(text)
    return text


def _check_cores(text: str) -> str:
    if _CORES.fullmatch(text) is None:
        raise ValueError("a number of cores, such as 2, 1.5 or 2000m")
    return text


class OfferRequirements(Strict):
    """What the offer says of hardware; carried on the chain, with whatever else it says."""

    min_gpu_memory: Annotated[str, AfterValidator(_check_memory)] | None = None
    min_cpu: Annotated[str, AfterValidator(_check_cores)] | None = None


class OfferRequest(Strict):
    """Work of a kind at a price in AIT per unit, for so many jobs, for so many seconds."""

    job_type: Annotated[str, Field(min_length=1, max_length=MAX_LABEL)]
    price: Ait
    max_jobs: Annotated[int, Field(ge=1, le=MAX_OFFERED_JOBS)] = 1
    requirements: OfferRequirements = OfferRequirements()
    duration: Annotated[int, Field(ge=1, le=MAX_SECONDS)] = 3_600
    miner_id: MinerName | None = None
    transaction: SignedHex | None = Field(
        default=None, description="Hex of the signed offer_create, from an account that signs"
    )


class OfferShown(Shown):
    """An offer as the chain holds it; `reputation` is its miner's, from 0 to 5."""

    offer_id: str
    miner_id: str
    job_type: str
    service: str
    billing: Literal["per_unit", "per_second"]
    price: str
    price_base: str
    reputation: float
    status: Literal["pending", "active", "cancelled", "expired", "used_up", "miner_exited"]
    max_jobs: int
    accepted_jobs: int
    requirements: JsonObject
    created_at: str
    expires_at: str
    transaction_id: str | None = None


class OfferList(Shown):
    offers: list[OfferShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class OffersQuery(PageQuery):
    job_type: Annotated[str, Field(min_length=1, max_length=MAX_LABEL)] | None = None
    max_price: (
        Annotated[str, Field(max_length=wire.MAX_AMOUNT_LENGTH, description="AIT per unit at most")]
        | None
    ) = None


class AcceptRequest(Strict):
    """The job that takes the offer, and what its client expects to pay per unit at most."""

    job_id: Annotated[str, Field(max_length=100)]
    bid_price: Ait | None = None
    transaction: SignedHex | None = Field(
        default=None, description="Hex of the signed offer_accept, from an account that signs"
    )


class WithdrawRequest(Strict):
    transaction: SignedHex | None = Field(
        default=None, description="Hex of the signed offer_cancel, from an account that signs"
    )


class Accepted(Shown):
    """`status` is `pending` until a final block holds the transaction, then `accepted`."""

    transaction_id: str
    status: Literal["pending", "accepted"]
    created_at: str
    offer_id: str
    job_id: str
    miner_id: str
    price: str
    price_base: str


class MarketStats(Shown):
    """Jobs by their end, seconds from claim to settlement, AIT settled."""

    total_jobs: int
    active_jobs: int
    completed_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    average_completion_time: float
    total_volume: str
    total_volume_base: str
    active_miners: int


Members = dict[str, Any]
