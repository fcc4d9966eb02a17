"""What an attempt to tell a webhook leads to: delivered, tried again later, or given up.

The one place where a webhook is found to fail and is switched off for it.
"""

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from coordinator import sql, webhooks
from coordinator.settings import WebhookLimits
from coordinator.tables import DeliveryRow, WebhookRow
from coordinator.webhook_queue import DEAD, DELIVERED, PENDING, TEST

_GONE: Final = 410
_FACTOR: Final = 3
_JITTER_PERCENT: Final = 25


class Outcome(NamedTuple):
    """How an attempt ended: with a status, or with the name of what went wrong before any."""

    status: int | None
    error: str | None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def note_outcome(
    connection: Connection,
    row_id: int,
    outcome: Outcome,
    limits: WebhookLimits,
    now_ms: int,
    jitter: int,
) -> None:
    """Write down how an attempt ended and what that means for its webhook.

    `jitter` is a chance number of at least 0. Of what was deleted meanwhile nothing is written.
    """
    delivery = sql.find(connection, DeliveryRow, row_id=row_id)
    if delivery is None or delivery.state != PENDING and not outcome.is_success:
        return
    webhook = sql.find(connection, WebhookRow, row_id=delivery.webhook_row_id)
    assert webhook is not None
    attempts = delivery.attempts + 1
    values: dict[str, Any] = {"attempts": attempts, "last_status": outcome.status}
    values["last_error"] = outcome.error
    if outcome.is_success:
        sql.update(connection, delivery, state=DELIVERED, ended_ms=now_ms, **values)
        if webhook.disabled_ms is None:
            sql.update(connection, webhook, failing_since_ms=None)
        elif delivery.type == TEST:
            webhooks.switch_on(connection, webhook)
        return
    is_last = attempts >= limits.attempts or webhook.disabled_ms is not None
    is_old = now_ms - delivery.queued_ms > int(limits.age_seconds * 1000)
    if is_last or is_old or outcome.status == _GONE:
        sql.update(connection, delivery, state=DEAD, ended_ms=now_ms, **values)
    else:
        due = now_ms + compute_pause(attempts, limits, jitter)
        sql.update(connection, delivery, next_ms=due, **values)
    if webhook.disabled_ms is not None:
        return
    since = webhook.failing_since_ms or now_ms
    sql.update(connection, webhook, failing_since_ms=since)
    if outcome.status == _GONE:
        webhooks.switch_off(connection, webhook, webhooks.GONE, now_ms)
    elif now_ms - since > int(limits.failing_seconds * 1000):
        webhooks.switch_off(connection, webhook, webhooks.FAILING, now_ms)


def compute_pause(attempts: int, limits: WebhookLimits, jitter: int) -> int:
    """Return the milliseconds before the next attempt, after so many that failed."""
    first = int(limits.first_retry_seconds * 1000)
    growth: int = _FACTOR ** min(attempts - 1, 32)
    pause = min(int(limits.longest_retry_seconds * 1000), first * growth)
    # Those that failed together do not all come back together.
    return pause + jitter % (pause * _JITTER_PERCENT // 100 + 1)
