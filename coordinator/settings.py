"""What an operator may choose about the job API. Times in seconds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]


class RateLimits(BaseModel):
    """Requests allowed for each key, or for each address where no key is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    is_enabled: bool = True
    per_minute: Annotated[int, Field(ge=1)] = 60
    per_hour: Annotated[int, Field(ge=1)] = 1_000
    polling_per_minute: Annotated[int, Field(ge=1)] = 600
    """Miner polling, heartbeats and reads of one's own jobs and receipts."""
    public_per_minute: Annotated[int, Field(ge=1)] = 300
    """Routes without a key, for each address; on DEV chains these have no bound."""


class LiveLimits(BaseModel):
    """What WebSockets may cost, and how long one may be silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sockets: Annotated[int, Field(ge=1)] = 4_000
    """In all; never more than half of the files that the process may open."""
    sockets_per_key: Annotated[int, Field(ge=1)] = 64
    unknown_sockets: Annotated[int, Field(ge=1)] = 256
    """Sockets that have shown no key yet."""
    key_seconds: Seconds = 10.0
    """How long a socket may stay without a key."""
    ping_seconds: Seconds = 30.0
    """After so much silence the server asks whether the client is there."""
    silent_seconds: Seconds = 75.0
    """After so much silence it is gone."""
    queued_bytes: Annotated[int, Field(ge=4_096)] = 64 * 1024
    """What may wait in memory for one slow reader; the rest waits in the log."""
    catch_up_seconds: Seconds = 20.0
    """A client that is behind reads something in so long, or is cut."""


class WebhookLimits(BaseModel):
    """How webhooks are told, how long it is tried, and when one is switched off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_account: Annotated[int, Field(ge=1)] = 20
    pending: Annotated[int, Field(ge=1)] = 10_000
    """Deliveries that may wait for one webhook; one that falls behind that is switched off."""
    per_second: Annotated[int, Field(ge=1)] = 50
    """Messages in all: each costs some milliseconds of the loop that also answers requests."""
    timeout_seconds: Seconds = 10.0
    first_retry_seconds: Seconds = 5.0
    """Each further pause is three times as long, up to the longest, and up to a quarter more."""
    longest_retry_seconds: Seconds = 6 * 3_600.0
    attempts: Annotated[int, Field(ge=1)] = 14
    """With these pauses it is tried for about a day and a half."""
    age_seconds: Seconds = 2 * 86_400.0
    """A delivery that is older and fails is not tried again, whatever its attempts."""
    failing_seconds: Seconds = 3 * 86_400.0
    """After so long without a success the webhook is switched off."""
    overlap_seconds: Seconds = 86_400.0
    """How long the old secret signs beside a new one."""
    retention_seconds: Seconds = 7 * 86_400.0
    """How long deliveries that ended are kept."""


class CoordinatorSettings(BaseModel):
    """Limits, prices and times of the job API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_limits: RateLimits = RateLimits()
    live: LiveLimits = LiveLimits()
    webhooks: WebhookLimits = WebhookLimits()
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API; `*` is every one."""
    maximum_json_bytes: Annotated[int, Field(ge=1_024, le=64 * 2**20)] = 2**20
    maximum_file_bytes: Annotated[int, Field(ge=1_024)] = 256 * 2**20
    maximum_stored_bytes: Annotated[int, Field(ge=1_024)] = 4 * 2**30
    """What one account's files may come to; a full disk would stop the chain beside them."""
    body_deadline: Seconds = 30.0
    file_deadline: Seconds = 600.0
    default_model: str = "smollm2-135m"
    prices: dict[str, Annotated[int, Field(ge=1)]] = {"llm_inference": 1_000}
    """Base units per unit of each service, where a job names no `max_cost`."""
    default_price: Annotated[int, Field(ge=1)] = 1_000
    default_seconds: Annotated[int, Field(ge=1)] = 3_600
    """A job's time limit where it names none."""
    lease_seconds: Annotated[int, Field(ge=1)] = 600
    """The longest a lease runs before the job goes back to the queue."""
    claim_wait: Seconds = 10.0
    submit_wait: Seconds = 1.5
    """How long POST waits for the mempool; the job is on its way either way."""
    poll_wait: Seconds = 60.0
    """The longest that a request may wait for a job."""
    heartbeat_seconds: Annotated[int, Field(ge=1)] = 10
    validity_blocks: Annotated[int, Field(ge=10)] = 10_000
    """For how many heights a transaction signed here may enter a block."""
    resubmit_seconds: Seconds = 5.0
    content_retention: Seconds = 30 * 86_400.0
    """How long inputs, results and files are kept after a job's end."""
    idempotency_retention: Seconds = 7 * 86_400.0
    update_retention: Seconds = 7 * 86_400.0
    """How long the log of updates reaches back."""
    audit_retention: Seconds = 365 * 86_400.0
    """How long the audit log reaches back."""
