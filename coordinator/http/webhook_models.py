"""The bodies and answers of the webhook routes."""

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from coordinator.http.job_models import PageQuery, Shown, Strict
from coordinator.updates import UpdateType
from outbound.urls import MAX_LENGTH

Event = Literal["job_update", "receipt_created", "marketplace_update", "block_created"]


class WebhookRequest(Strict):
    """An address, and what it is told of."""

    url: Annotated[str, Field(max_length=MAX_LENGTH, examples=["https://example.com/hook"])]
    events: Annotated[list[Event], Field(min_length=1, max_length=len(UpdateType))]
    description: Annotated[str, Field(max_length=200)] = ""


class WebhookShown(Shown):
    webhook_id: str
    url: str
    events: list[str]
    description: str
    status: Literal["active", "failing", "disabled"]
    disabled_reason: Literal["gone", "failing", "overflow", "key_revoked"] | None
    disabled_at: str | None
    failing_since: str | None
    previous_secret_until: str | None
    created_at: str


class WebhookMade(WebhookShown):
    secret: str


class WebhookList(Shown):
    webhooks: list[WebhookShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class DeliveriesQuery(PageQuery):
    state: Literal["pending", "delivered", "dead"] | None = None


class DeliveryShown(Shown):
    """A message; `payload` is exactly what is sent."""

    delivery_id: str
    webhook_id: str
    type: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    last_status: int | None
    last_error: str | None
    payload: str
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None


class DeliveryList(Shown):
    deliveries: list[DeliveryShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class TestData(msgspec.Struct, frozen=True):
    """What a test says."""

    webhook_id: str
    timestamp: str
