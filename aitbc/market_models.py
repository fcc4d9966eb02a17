"""Decides what the answers about offers, services, files, webhooks and updates look like."""

from typing import Any

from aitbc.models import Model


class Offer(Model):
    """A miner's offer: work of a type at a price in AIT per unit."""

    offer_id: str
    miner_id: str | None = None
    job_type: str | None = None
    price: str | None = None
    price_base: str | None = None
    status: str | None = None
    """`pending`, `active`, `cancelled`, `expired`, `used_up` or `miner_exited`."""
    max_jobs: int | None = None
    accepted_jobs: int | None = None
    reputation: float | None = None
    created_at: str | None = None


class Acceptance(Model):
    """An accepted offer: the transaction that locks its price for a job."""

    transaction_id: str
    status: str | None = None
    created_at: str | None = None


class MarketStats(Model):
    """The market's totals, computed from the chain."""

    total_jobs: int | None = None
    active_jobs: int | None = None
    completed_jobs: int | None = None
    failed_jobs: int | None = None
    average_completion_time: float | None = None
    total_volume: Any = None
    active_miners: int | None = None


class Service(Model):
    """Something that miners can be asked to do."""

    service_id: str
    name: str | None = None
    category: str | None = None
    description: str | None = None


class Validation(Model):
    """What the registry says of a request: it would be refused with these errors."""

    valid: bool
    errors: list[Any] = []
    warnings: list[Any] = []


class StoredFile(Model):
    """A file that the coordinator keeps; its `file_id` stands wherever an address may."""

    file_id: str
    name: str | None = None
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    created_at: str | None = None


class Webhook(Model):
    """An address that is told of events."""

    webhook_id: str
    url: str | None = None
    events: list[str] = []
    secret: str | None = None
    """What deliveries are signed with; there only in the answers that made it."""
    status: str | None = None
    description: str | None = None
    created_at: str | None = None


class Delivery(Model):
    """One event on its way to a webhook's address."""

    delivery_id: str
    type: str | None = None
    state: str | None = None
    """`pending`, `delivered` or `dead`."""
    attempts: int | None = None
    last_status: int | None = None
    last_error: str | None = None


class Update(Model):
    """Something that happened, as the live updates tell it."""

    type: str
    """`job_update`, `receipt_created`, `marketplace_update`, `block_created`; or `gap`."""
    data: dict[str, Any]
    seq: int
    """Where `since` goes on."""


class JobEvent(Model):
    """A piece of a running job.

    `status`: another stage. `delta`: text that follows. `reset`: what came before is void, another
    attempt begins anew. `done`: the job has ended.
    """

    event: str
    data: dict[str, Any]

    @property
    def delta(self) -> str:
        """The text that came with this event; empty for the other kinds."""
        text = self.data.get("delta")
        return text if self.event == "delta" and isinstance(text, str) else ""
