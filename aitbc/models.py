"""Decides what the answers of the API look like in Python: attributes, and the same by `["key"]`.

A server may add members at any time, so unknown ones are kept and readable like the others; only
what every answer of the kind has is required. Money: decimal strings of AIT, and beside each an
exact `*_base` integer string of base units.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aitbc.errors import InvalidAnswerError
from aitbc.verification import Trusted, verify_settlement, verify_signature
from consensus.receipt_bundle import VerifiedReceipt
from ledger.receipts import ReceiptCore

T = TypeVar("T")


class Model(BaseModel):
    """An answer of the API."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    def __getitem__(self, key: str) -> Any:
        if key in type(self).model_fields:
            return getattr(self, key)
        return (self.model_extra or {})[key]

    def __contains__(self, key: object) -> bool:
        return key in type(self).model_fields or key in (self.model_extra or {})

    def get(self, key: str, default: Any = None) -> Any:
        """Return a member, or `default` where the answer has none."""
        try:
            return self[key]
        except KeyError:
            return default

    def to_dict(self) -> dict[str, Any]:
        """Return what the server sent, as plain JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


M = TypeVar("M", bound=Model)


class Settlement(Model):
    """What became of a job's escrow. Amounts in AIT."""

    state: str | None = None
    escrow: str | float | None = None
    paid: str | float | None = None
    refunded: str | float | None = None
    tx: str | None = None
    height: int | None = None
    confirmations: int | None = None


class JobAttempt(Model):
    """A miner's claim on a job that has ended: `settled`, `failed`, `released`, …"""

    miner_id: str
    outcome: str
    fault: str | None = None
    reason_code: int | None = None
    reason: str | None = None


class Job(Model):
    """A job: `status` from the closed set, `phase` finer."""

    job_id: str
    status: str
    phase: str | None = None
    progress: int | None = None
    model: Any = None
    result: Any = None
    miner_id: str | None = None
    created_at: str | None = None
    fault: str | None = None
    reason_code: int | None = None
    attempts: list[JobAttempt] | None = None
    """The claims that have ended; None in lists, and until the chain has the job."""
    max_attempts: int | None = None
    settlement: Settlement | None = None

    @property
    def is_over(self) -> bool:
        """Whether the job has reached a status that never changes again."""
        return self.status in ("completed", "failed", "cancelled")


class Lease(Model):
    """A miner's claim in force. Times: header time in milliseconds."""

    miner_id: str
    number: int
    claimed_at_ms: int
    ends_at_ms: int
    heartbeat_seconds: float
    head_ms: int | None = None
    """Of the last final block when the answer was given."""


class ClaimedJob(Model):
    """What the holder of a lease is given."""

    job: Job
    content: dict[str, Any] | None
    """None where the coordinator has erased it, or where it came sealed."""
    lease: Lease
    content_sealed: list[str] | None = None
    """For another coordinator's job: boxes for the miner's encryption key, in base64. Opened and
    joined they are JSON: `content`, and the `report_token` that heartbeats carry."""
    terms_sealed: str | None = None
    """Base64 of a sealed box for the miner's encryption key: the opening of the job's terms."""
    terms: dict[str, Any] | None = None
    requirements: dict[str, Any] = {}
    """What the job asks of hardware: `gpu_type`, `gpu_count`, and `gpu_memory` in bytes."""


class Heartbeat(Model):
    """The coordinator's answer to a lease holder's sign of life."""

    status: str
    cancel_requested: bool = False
    lease_ends_at_ms: int | None = None


class Receipt(Model):
    """The signed receipt, with what came to it since."""

    receipt_id: str
    job_id: str
    signature: dict[str, Any] | None = None
    attestations: list[Any] = Field(default_factory=list)

    @overload
    def verify(self) -> ReceiptCore: ...
    @overload
    def verify(self, bundle: Mapping[str, Any] | bytes, trusted: Trusted) -> VerifiedReceipt: ...
    def verify(
        self, bundle: Mapping[str, Any] | bytes | None = None, trusted: Trusted | None = None
    ) -> ReceiptCore | VerifiedReceipt:
        """Check the receipt with no network and return what was signed.

        With the `bundle` of its settlement and what is `trusted` of the chain (a checkpoint of
        `genesis.checkpoint`): the commitment, the proof, block, state and authorities as well, and
        what they prove. Raises `InvalidReceiptError`.
        """
        core = verify_signature(self.to_dict())
        if bundle is None:
            return core
        if trusted is None:
            raise TypeError("a bundle proves nothing to whoever trusts nothing: give `trusted`")
        return verify_settlement(bundle, trusted, core)


class Verdict(Model):
    """What the verification of a receipt found."""

    valid: bool
    miner_signature_valid: bool | None = None
    zk_proof_valid: bool | None = None
    included_in_block: bool | None = None


class Miner(Model):
    """A miner as registered."""

    miner_id: str
    status: str | None = None


class MinerStats(Model):
    """Figures computed from the outcomes on the chain alone."""

    miner_id: str
    reputation: float | None = None
    total_jobs: int | None = None
    success_rate: float | None = None
    average_completion_time: float | None = None
    total_earned: Any = None
    active_since: str | None = None


class Account(Model):
    """An account of the chain."""

    address: str
    balance_base: str
    nonce: int
    """Nonce of the account's next transaction in the final state."""
    pending_nonce: int
    """The same, counting those that wait in the node's mempool."""


class ChainStatus(Model):
    """Where the node stands."""

    chain_id: str
    """64 hex digits."""
    height: int
    time_ms: int | None = None
    behind_by: int | None = None
    minimum_fee_rate: int
    """Base units per byte of a transaction."""
    maximum_validity: int
    """How many heights ahead a transaction's `valid_until` may lie."""
    proof_key_id: str
    """Id of the verifying key that settlements are checked with, 64 hex digits."""


class Submission(Model):
    """One transaction's verdict: `accepted`, or the ledger's reason."""

    transaction_id: str | None = None
    status: str | None = None
    error_code: str | None = None


class TransactionStatus(Model):
    """A transaction as a node knows it: `pending` in the mempool, or `final` with its outcome."""

    transaction_id: str | None = None
    status: str
    height: int | None = None
    code: int | None = None
    """0 when it applied, else the ledger's rejection."""


class Page(Model, Generic[T]):
    """One page of a list; the items stand under a name of their own in the raw answer."""

    items: list[T]
    total: int | None = None
    has_more: bool = False
    next_cursor: str | None = None


def read_page(value: Any, member: str, kind: type[M]) -> Page[M]:
    """Return a page whose items are under `member`, or are the whole answer, as `kind`."""
    document = {member: value} if isinstance(value, list) else value
    if not isinstance(document, dict) or not isinstance(document.get(member), list):
        raise InvalidAnswerError(f"a list under {member!r} was expected")
    try:
        items = [kind.model_validate(item) for item in document[member]]
        return Page[Any].model_validate({**document, "items": items})
    except ValidationError as error:
        raise InvalidAnswerError(f"not the answer that was agreed: {error}") from None
