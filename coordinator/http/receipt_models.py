"""The bodies and answers of the receipt routes."""

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from coordinator.http.job_models import (
    JsonObject,
    PageQuery,
    Parameters,
    QueryNumber,
    Shown,
    Strict,
)
from coordinator.services.definition import Verification


def _drop_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Signature(Shown):
    alg: str
    key_id: str
    sig: str
    public_key: str


class SignedReceipt(Shown):
    """Exactly what the miner signed, the signature, and what was attested since (rule R1)."""

    version: int
    chain_id: str
    receipt_id: str
    job_id: str
    provider: str
    miner_id: str
    claim_number: int
    client: str
    service: str
    units: int
    unit_type: str
    price: int
    amount: int
    model: str
    engine: str
    device: str
    verification: Verification
    pins: dict[str, str]
    input_hash: str
    result_hash: str
    started_at: int
    completed_at: int
    started_ms: int
    completed_ms: int
    receipt_commit: str
    energy_joules: int | SkipJsonSchema[None] = Field(
        default=None,
        description="Absent where the device has no counter",
        json_schema_extra=_drop_default,
    )
    signature: Signature
    attestations: list[JsonObject]


class SignedReceipts(Shown):
    items: list[SignedReceipt]


class Receipt(Shown):
    """The union of every form: the signed members, and beside them what came later."""

    receipt_id: str
    job_id: str
    provider: str
    miner_id: str
    client: str
    units: int
    unit_type: str
    price: int
    model: str
    started_at: int
    completed_at: int
    created_at: str
    signature: Signature
    attestations: list[JsonObject]
    signed_payload: str
    status: Literal["pending", "final"]
    claim_number: int
    tx: str | None
    height: int | None
    block_hash: str | None
    inclusion_proof: JsonObject | None
    zk: JsonObject | None


class ReceiptList(Shown):
    receipts: list[Receipt]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class OfferOpening(Shown):
    """What the client escrowed for; hashes are field elements in hex, times in milliseconds."""

    job: str
    client: str
    max_units: int
    max_price: int
    not_before: int
    deadline: int
    model: str
    input_hash: str
    salt: str


class PriceOpening(Shown):
    price: int
    salt: str


class WorkOpening(Shown):
    units: int
    started: int
    completed: int
    result_hash: str
    salt: str


class ReceiptOpening(Shown):
    """The document of section P7: what `job_commit`, `price_commit`, `receipt_commit` hide."""

    format: Literal["aitbc-receipt-opening/1"]
    offer: OfferOpening
    price: PriceOpening
    receipt: WorkOpening


class ReceiptBundle(Shown):
    """What proves a receipt with no network: the chain's own records, base64url, inside."""

    format: Literal["aitbc-receipt-bundle/1"]
    receipt: JsonObject
    opening: JsonObject
    settlement: str
    state: str
    successions: list[str]


class ReceiptOrBundle(RootModel[Receipt | ReceiptBundle]):
    """The receipt; with `bundle=1` what proves it."""


class ReceiptsQuery(PageQuery):
    limit: Annotated[QueryNumber, Field(ge=1, le=100)] = 20
    client: Annotated[str, Field(max_length=100)] | None = None
    provider: Annotated[str, Field(max_length=100)] | None = None


class ReceiptQuery(Parameters):
    bundle: Literal["0", "1"] = "0"


class VerifyRequest(Strict):
    receipt: dict[str, Any]


class Verified(Shown):
    valid: bool
    miner_signature_valid: bool
    coordinator_attestations: int
    zk_proof_valid: bool
    included_in_block: bool
    verified_at: str
