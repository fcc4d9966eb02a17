"""The bodies and answers of the job routes: one request model for three documented shapes of body.

A: `{name, type, model: {...}, input: {...}, output, resources, pricing: {max_cost}}`
B: `{prompt, model, params: {max_tokens, temperature, top_p}}`
C: `{model, input, output_config, requirements, priority, timeout_seconds}`
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from coordinator import wire
from coordinator.phases import ALIASES, Phase, Status

MAX_NAME = 200


def _check_ait(text: str) -> str:
    wire.parse_ait(text)
    return text


def _check_query_number(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError("a plain decimal number is expected")
    return value


Ait = Annotated[
    str,
    AfterValidator(_check_ait),
    Field(description="AIT, a decimal string with up to 9 places", examples=["0.10"]),
]
QueryNumber = Annotated[int, BeforeValidator(_check_query_number)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
JsonObject = dict[str, Any]


class Strict(BaseModel):
    """Members keep their JSON type; members that nobody reads are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Parameters(BaseModel):
    """Query parameters: text that is read as the type it stands for."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Shown(BaseModel):
    """An answer; it may hold more than it names."""

    model_config = ConfigDict(extra="allow")


class ModelSpec(Strict):
    """Shape A's model: a name, or code to run in a sandbox."""

    type: Text | None = Field(default=None, description="`python` or `wasm`: code is to be run")
    name: Text | None = None
    entrypoint: Text | None = None
    requirements: Annotated[list[Text], Field(max_length=64)] = []
    source: str | None = Field(default=None, description="The code itself")
    source_url: str | None = Field(default=None, description="Where it is: an address or a file")
    fuel: int | None = Field(default=None, description="Of `wasm`: what it may use at most")


class Pricing(Strict):
    max_cost: Ait | None = None


class Resources(Strict):
    """Shape A's hardware: `{"cpu": "1000m", "memory": "2Gi", "gpu": "1"}`."""

    cpu: Text | None = None
    memory: Text | None = None
    gpu: Text | Annotated[int, Field(ge=0, le=64)] | None = None


class HardwareRequirements(Strict):
    """Shape C's hardware."""

    gpu_type: Text | None = None
    gpu_count: Annotated[int, Field(ge=0, le=64)] | None = None
    min_vram_gb: Annotated[float, Field(ge=0, le=4_096)] | None = None


class InferenceParams(Strict):
    """Shape B's parameters of a text model."""

    max_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class JobOptions(Strict):
    """What every body that makes a job may say beside what is to be done."""

    name: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    max_cost: Ait | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=7 * 86_400 - 60)] | None = None
    transaction: Annotated[str, Field(max_length=16_384)] | None = Field(
        default=None, description="Hex of the signed job_submit, from an account that signs itself"
    )
    terms: JsonObject | None = Field(
        default=None, description="With `transaction`: the opening of its job_commit"
    )


class JobRequest(JobOptions):
    """A job in any of the three shapes, or of several at once."""

    type: Text | None = None
    model: Text | ModelSpec | None = None
    prompt: str | None = None
    input: str | JsonObject | None = None
    params: InferenceParams | None = None
    output: JsonObject | None = None
    output_config: JsonObject | None = None
    resources: Resources | None = None
    requirements: HardwareRequirements | None = None
    pricing: Pricing | None = None
    priority: Text | None = None


class Settlement(Shown):
    """The money of a job, and where on the chain it moved."""

    state: str
    escrow: str
    escrow_base: str
    paid: str
    paid_base: str
    refunded: str
    refunded_base: str
    tx: str | None
    height: int | None
    confirmations: int


class JobAttempt(Shown):
    """A miner's claim on a job that has ended, as the chain has it."""

    miner_id: str
    outcome: Literal["settled", "failed", "released", "lapsed", "cancelled"]
    fault: str | None
    reason_code: int | None
    reason: str | None


class Job(Shown):
    """A job with every member that any of the documents names."""

    job_id: str
    name: str | None
    type: str
    service: str
    status: Status | Literal["submitted"]
    phase: Phase
    progress: Annotated[int, Field(ge=0, le=100)]
    prompt: str | None
    model: str
    result: Any
    miner_id: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    cancelled_at: str | None
    estimated_cost: float
    estimated_cost_base: str
    estimated_time_seconds: int
    estimated_completion: str | None
    fault: str | None
    reason_code: int | None
    reason: str | None
    cancel_requested: bool
    settlement: Settlement
    escrow_base: str
    max_price_base: str
    max_units: int
    billing: int
    deadlines: JsonObject
    accepted_offer: Annotated[
        JsonObject | None,
        Field(description="The offer that the job is bound to: its miner and its public price"),
    ] = None
    attempts: Annotated[
        list[JobAttempt] | None,
        Field(
            description="The claims that have ended, the first one first: why a job waits again. "
            "Null in lists, and until the chain has the job"
        ),
    ] = None
    max_attempts: Annotated[
        int, Field(description="With so many claims that ended unpaid, the job has failed")
    ]
    content_omitted: Annotated[
        bool, Field(description="Prompt and result were left out of a list for their size")
    ] = False


class MaybeJob(RootModel[Job | None]):
    """A job, or null where there is none."""


class JobList(Shown):
    jobs: list[Job]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class JobResults(Shown):
    job_id: str
    status: Status
    results: Any
    result: Any
    completed_at: str | None


class JobContent(Shown):
    """What the job's terms bind the hash of, and its miner was given."""

    service: str
    model: str
    input: JsonObject
    params: JsonObject


class PageQuery(Parameters):
    """Where a page of a list begins, and its shape."""

    limit: Annotated[QueryNumber, Field(ge=1, le=100)] = 50
    offset: Annotated[QueryNumber, Field(ge=0, le=10**9)] = 0
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None
    format: Literal["object", "array"] = "object"


def _read_status(value: Any) -> Any:
    return ALIASES.get(value, value) if isinstance(value, str) else value


class JobsQuery(PageQuery):
    status: Annotated[Status, BeforeValidator(_read_status)] | None = None
    type: Text | None = None


class HistoryQuery(JobsQuery):
    """`from` and `to` are dates, inclusive, or date-times."""

    start: Annotated[str, Field(max_length=40)] | None = Field(default=None, alias="from")
    end: Annotated[str, Field(max_length=40)] | None = Field(default=None, alias="to")
