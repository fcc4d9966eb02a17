"""The bodies and answers of the routes that miners use."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, RootModel

from coordinator.http.job_models import (
    Job,
    JsonObject,
    PageQuery,
    Parameters,
    QueryNumber,
    Shown,
    Strict,
    Text,
)
from coordinator.http.receipt_models import Receipt
from coordinator.matching import MAX_ANNOUNCED, parse_memory
from coordinator.phases import REPORTABLE, Phase
from coordinator.services.definition import PLAIN_PATTERN
from ledger.receipts import MAX_PIN_CHARACTERS, MAX_PINS
from ledger.types import MAX_AMOUNT, MAX_TIME, MAX_UNITS

MinerName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
SignedHex = Annotated[str, Field(max_length=16_384)]
PinText = Annotated[str, Field(max_length=MAX_PIN_CHARACTERS, pattern=r"^[ -~]*$")]
PIN_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
MAX_ENERGY_JOULES: Final = 2**53 - 1
TimeMs = Annotated[int, Field(ge=0, le=MAX_TIME)]


def _check_memory(text: str) -> str:
    parse_memory(text)
    return text


def _check_phase(text: str) -> str:
    if text not in {phase.value for phase in REPORTABLE}:
        raise ValueError("a miner reports preparing, running or uploading")
    return text


def _check_pin_names(pins: dict[str, str]) -> dict[str, str]:
    if not all(PIN_NAME.fullmatch(name) for name in pins):
        raise ValueError("a pin's name is of small letters, digits and _")
    return pins


Pins = Annotated[
    dict[str, PinText],
    AfterValidator(_check_pin_names),
    Field(
        max_length=MAX_PINS,
        description="What must be the same for a run to be comparable: build, seed, threads, …",
        json_schema_extra={"propertyNames": {"pattern": f"^{PIN_NAME.pattern}$"}},
    ),
]


class GpuInfo(Strict):
    name: Annotated[str, Field(max_length=200)] | None = None
    memory: Annotated[str, AfterValidator(_check_memory)] | None = None
    count: Annotated[int, Field(ge=0, le=1_024)] | None = None


class MinerRegistration(Strict):
    """A miner and what it offers; `capabilities` of an older worker are an object of its own."""

    miner_id: MinerName | None = Field(
        default=None,
        description="None: that of the header X-Miner-ID, the account's only one, or a new one "
        "named after the account",
    )
    capabilities: Annotated[list[Text], Field(max_length=MAX_ANNOUNCED)] | JsonObject
    gpu_info: GpuInfo | None = None
    models: Annotated[list[Text], Field(max_length=MAX_ANNOUNCED)] = []
    prices: dict[str, Annotated[int, Field(ge=1, le=MAX_AMOUNT)]] = {}
    encryption_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    bond_base: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,18})$")] | None = None
    transaction: SignedHex | None = None


class Registered(Shown):
    miner_id: str
    status: Literal["registering", "active", "exited"]
    transaction_id: str | None
    session_token: str = Field(
        description="The miner's name again: older workers look for such a member; nothing asks "
        "for it"
    )


class MinerShown(Shown):
    miner_id: str
    status: Literal["registering", "active", "exited"]
    owner: str
    capabilities: list[str]
    gpu_info: JsonObject
    models: list[str]
    prices: dict[str, int]
    bond: str
    bond_base: str
    encryption_key: str
    registered_at: str | None = Field(description="Null while the registration is not yet final")
    last_seen: str | None
    live_leases: int


class MinerStats(Shown):
    miner_id: str
    reputation: float
    total_jobs: int
    success_rate: float
    average_completion_time: float
    total_earned: str
    total_earned_base: str
    active_since: str
    settled: int
    failed: int
    released: int
    lapsed: int
    cancelled: int


class AvailableQuery(Parameters):
    miner_id: MinerName | None = None
    wait: Annotated[QueryNumber, Field(ge=0, le=3_600)] = 0


class ClaimRequest(Strict):
    miner_id: MinerName | None = None
    transaction: SignedHex | None = None


class LeaseShown(Shown):
    miner_id: str
    number: int
    claimed_at_ms: int
    ends_at_ms: int
    heartbeat_seconds: int
    head_ms: int


class Claimed(Shown):
    job: Job
    content: JsonObject | None
    lease: LeaseShown
    content_sealed: list[str] | None = Field(
        default=None,
        description="For another coordinator's job: boxes for the miner's key, in base64; opened "
        "and joined they are the JSON of `content` and `report_token`",
    )
    requirements: JsonObject = Field(
        default={},
        description="What the job asks of a miner's hardware: `gpu_type`, `gpu_count`, and "
        "`gpu_memory` in bytes",
    )


class JobHeartbeat(Strict):
    miner_id: MinerName | None = None
    progress: Annotated[int, Field(ge=0, le=100)] = 0
    phase: Annotated[str, AfterValidator(_check_phase)] | None = None
    report_token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(
        default=None,
        description="What came in the sealed content of another coordinator's job",
    )

    @property
    def reported_phase(self) -> Phase | None:
        return None if self.phase is None else Phase(self.phase)


class HeartbeatAnswer(Shown):
    status: str
    cancel_requested: bool
    lease_ends_at_ms: int


class JobResult(Strict):
    """A finished job. A miner whose key is kept here sends `miner_id`, `result` and no more."""

    miner_id: MinerName | None = None
    result: str | JsonObject
    units: Annotated[int, Field(ge=1, le=MAX_UNITS)] | None = None
    started_ms: TimeMs | None = None
    completed_ms: TimeMs | None = None
    completed_at: Annotated[str, Field(max_length=40)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN_PATTERN)] | None = None
    device: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN_PATTERN)] | None = None
    pins: Pins = {}
    energy_joules: Annotated[int, Field(ge=0, le=MAX_ENERGY_JOULES)] | None = None
    receipt: JsonObject | None = None
    receipt_opening: JsonObject | None = None
    price_opening: JsonObject | None = None
    transaction: SignedHex | None = None


class JobFailure(Strict):
    miner_id: MinerName | None = None
    reason_code: Annotated[int, Field(ge=0, le=99_999)] | None = None
    detail: Annotated[str, Field(max_length=1_000)] | None = None
    transaction: SignedHex | None = None


class Failed(Shown):
    job_id: str
    status: str
    reason_code: int
    transaction_id: str


class MinerHeartbeat(Strict):
    miner_id: MinerName | None = None
    inflight: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    status: Text | None = None
    metadata: JsonObject | None = None


class MinerSeen(Shown):
    miner_id: str
    status: str
    live_leases: int
    last_seen: str


class MinerPoll(Strict):
    miner_id: MinerName | None = None
    max_wait_seconds: Annotated[int, Field(ge=0, le=3_600)] = 15


class AssignedJob(Shown):
    job_id: str
    payload: JsonObject
    constraints: JsonObject


class PolledResult(Strict):
    miner_id: MinerName | None = None
    result: str | JsonObject
    metrics: JsonObject = {}


class PolledFailure(Strict):
    miner_id: MinerName | None = None
    error_code: Text | Annotated[int, Field(ge=0, le=99_999)] | None = None
    error_message: Annotated[str, Field(max_length=10_000)] | None = None
    metrics: JsonObject = {}


class TakenResult(RootModel[Receipt | Failed]):
    """A receipt; for a result that says it is a failure, what became of the job."""


class Earning(Shown):
    job_id: str
    receipt_id: str
    units: int
    amount: str
    amount_base: str
    earned: str
    earned_base: str
    transaction_id: str
    height: int
    settled_at: str


class EarningList(Shown):
    miner_id: str
    total_earned: str
    total_earned_base: str
    earnings: list[Earning]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class EarningsQuery(PageQuery):
    pass
