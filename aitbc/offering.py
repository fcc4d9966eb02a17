"""Decides what a client signs about offers: that what it asked for, and nothing else.

A coordinator answers an account that signs by itself with the payload to sign. Two of the three are
known beforehand; of a new offer the client checks price, number and miner, and takes its identity
from its own key and the idempotency key, so that the same key makes the offer once.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from aitbc.calls import marketplace as calls
from aitbc.calls.common import JSON, choose_key
from aitbc.errors import SignatureNeededError, SigningRefusedError
from aitbc.market_models import Acceptance, Offer
from aitbc.signing import MAX_PAYLOAD_BYTES, Signer, read_ait, read_id, send_signed
from aitbc.steps import Call, Flow
from aitbc.wallet import Wallet
from ledger import codec
from ledger.rejection import Rejected
from ledger.transactions import OfferAccept, OfferCancel, OfferCreate, Payload

T = TypeVar("T")

OFFER_TAG: Final = b"aitbc/client-offer/1\x00"
OFFER_PREFIX: Final = "offer_"
JOB_PREFIX: Final = "job_"
CUSTOM_CODE: Final = "custom_code"
"""What the coordinator makes of a kind of work that the registry does not know."""


def create_offer(
    signer: Signer | None,
    /,
    offer: JSON | None = None,
    *,
    idempotency_key: str | None = None,
    **members: Any,
) -> Flow[Offer]:
    """Offer work at a price, as a miner: `job_type, price, max_jobs, requirements, duration`.

    The same `idempotency_key` twice is the same offer. A client with a wallet signs for it.
    """
    key = choose_key(idempotency_key)
    call = calls.create_offer(offer, idempotency_key=key, **members)
    try:
        answer = yield from call
    except SignatureNeededError as error:
        if signer is None:
            raise
        problem = error.problem
    else:
        return answer
    body = {**(offer or {}), **members}
    payload = build_offer(signer.wallet, problem, body, key)
    return (yield from send_signed(call, signer, payload, body))


def accept_offer(
    signer: Signer | None,
    offer_id: str,
    job_id: str,
    *,
    bid_price: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Acceptance]:
    """Accept an offer for a job of one's own, which locks its price for that job.

    Raises `OfferNotAvailableError` once it is taken, withdrawn or expired. A client with a wallet
    signs for it.
    """
    key = choose_key(idempotency_key)
    call = calls.accept_offer(offer_id, job_id, bid_price=bid_price, idempotency_key=key)

    def build() -> Payload:
        return OfferAccept(read_id(job_id, JOB_PREFIX), read_id(offer_id, OFFER_PREFIX))

    return _sign_if_asked(call, signer, build, sha256(key.encode()).hexdigest())


def cancel_offer(signer: Signer | None, offer_id: str) -> Flow[Offer]:
    """Withdraw an offer; jobs that accepted it keep its price. A client with a wallet signs."""

    def build() -> Payload:
        return OfferCancel(read_id(offer_id, OFFER_PREFIX))

    return _sign_if_asked(calls.cancel_offer(offer_id), signer, build, None)


def build_offer(
    wallet: Wallet, problem: Mapping[str, Any], body: Mapping[str, Any], idempotency_key: str
) -> OfferCreate:
    """Return the payload to sign for an offer that was sent.

    Raises `SigningRefusedError` where the coordinator asks for another one.
    """
    try:
        given = codec.decode(bytes.fromhex(problem["payload"]), OfferCreate, MAX_PAYLOAD_BYTES)
    except (KeyError, TypeError, ValueError, Rejected) as error:
        raise SigningRefusedError(f"the node's payload cannot be read: {error!r}") from None
    if given.price != read_ait("price", body.get("price")):
        raise SigningRefusedError(f"the payload's price is {given.price} base units")
    if given.service not in (body.get("job_type"), CUSTOM_CODE):
        raise SigningRefusedError(f"the payload offers {given.service}")
    for name, value in (("max_jobs", given.max_jobs), ("miner_id", given.miner)):
        if name in body and body[name] != value:
            raise SigningRefusedError(f"the payload's {name} is {value!r}")
    tag = sha256(OFFER_TAG + wallet.address + idempotency_key.encode()).digest()
    return msgspec.structs.replace(given, idempotency_tag=tag)


def _sign_if_asked(
    call: Call[T], signer: Signer | None, build: Callable[[], Payload], signed_key: str | None
) -> Flow[T]:
    try:
        answer = yield from call
    except SignatureNeededError:
        if signer is None:
            raise
    else:
        return answer
    body = call.body if isinstance(call.body, Mapping) else {}
    return (yield from send_signed(call, signer, build(), body, signed_key))
