"""The routes of webhooks: where an account is told of what happens. A secret is shown once."""

from functools import partial

from sqlalchemy import Connection

from coordinator import webhook_queue, webhooks, wire
from coordinator.coordinator import Coordinator
from coordinator.http.job_models import PageQuery
from coordinator.http.listing import build_page
from coordinator.http.problems import Problem, invalid, not_found
from coordinator.http.routing import Answer, Bucket, Call, Route
from coordinator.http.webhook_models import (
    DeliveriesQuery,
    DeliveryList,
    DeliveryShown,
    TestData,
    WebhookList,
    WebhookMade,
    WebhookRequest,
    WebhookShown,
)
from coordinator.signals import WEBHOOKS
from coordinator.tables import DeliveryRow, WebhookRow
from coordinator.updates import UpdateType
from coordinator.webhook_delivery import format_delivery_id
from coordinator.webhook_queue import PENDING
from coordinator.webhook_signing import format_secret, make_secret, seal_secret
from outbound.errors import OutboundError
from outbound.urls import parse_url


async def create(call: Call) -> Answer:
    body, coordinator = call.get_body(WebhookRequest), call.coordinator
    _check_url(coordinator, body.url)
    secret = make_secret()
    limit, now = coordinator.settings.webhooks.per_account, coordinator.get_now()
    work = partial(
        webhooks.add,
        owner=call.caller,
        url=body.url,
        events=[UpdateType(name) for name in dict.fromkeys(body.events)],
        description=body.description,
        sealed_secret=seal_secret(secret, coordinator.sealing_key),
        limit=limit,
        now_ms=now,
    )
    row = await coordinator.storage.write(work)
    if row is None:
        raise Problem(409, f"an account has up to {limit} webhooks", "TOO_MANY_WEBHOOKS")
    return Answer(_view_made(row, secret, now), 201)


def _check_url(coordinator: Coordinator, url: str) -> None:
    try:
        target = parse_url(url)
    except OutboundError as error:
        raise invalid("/url", error.detail) from None
    if target.scheme != "https" and not coordinator.chain.is_dev:
        raise invalid("/url", "only an https URL is told of what happens")


async def list_webhooks(call: Call) -> Answer:
    query, now = call.get_query(PageQuery), call.coordinator.get_now()
    read = partial(
        webhooks.list_own,
        account_id=call.caller.account_id,
        limit=query.limit + 1,
        offset=query.offset,
        before=None if query.cursor is None else int(query.cursor),
    )
    rows, total = await call.coordinator.storage.read(read)
    shown = rows[: query.limit]
    items = [_view(row, now) for row in shown]
    last = shown[-1].row_id if shown else None
    return Answer(build_page("webhooks", items, total, query, last, len(rows) - len(shown)))


async def get_webhook(call: Call) -> Answer:
    row = await call.coordinator.storage.read(partial(_find, call=call))
    return Answer(_view(row, call.coordinator.get_now()))


async def delete(call: Call) -> Answer:
    def write(connection: Connection) -> None:
        webhooks.delete(connection, _find(connection, call))

    await call.coordinator.storage.write(write)
    return Answer(None, 204)


async def rotate(call: Call) -> Answer:
    coordinator = call.coordinator
    now, secret = coordinator.get_now(), make_secret()
    sealed = seal_secret(secret, coordinator.sealing_key)
    until = now + int(coordinator.settings.webhooks.overlap_seconds * 1000)

    def write(connection: Connection) -> WebhookRow:
        row = _find(connection, call)
        webhooks.rotate(connection, row, sealed, until)
        return row

    return Answer(_view_made(await coordinator.storage.write(write), secret, now))


async def test(call: Call) -> Answer:
    now = call.coordinator.get_now()

    def write(connection: Connection) -> tuple[WebhookRow, DeliveryRow]:
        row = _find(connection, call)
        data = TestData(_format_id(row), wire.format_time(now))
        key = call.caller.key_id
        return row, webhook_queue.queue_test(connection, row, key, data, now)

    return await _send(call, *await call.coordinator.storage.write(write))


async def list_deliveries(call: Call) -> Answer:
    query = call.get_query(DeliveriesQuery)

    def read(connection: Connection) -> tuple[WebhookRow, list[DeliveryRow], int]:
        webhook = _find(connection, call)
        before = None if query.cursor is None else int(query.cursor)
        rows, total = webhook_queue.list_deliveries(
            connection, webhook, query.state, query.limit + 1, query.offset, before
        )
        return webhook, rows, total

    webhook, rows, total = await call.coordinator.storage.read(read)
    shown = rows[: query.limit]
    items = [_view_delivery(webhook, row) for row in shown]
    last = shown[-1].row_id if shown else None
    return Answer(build_page("deliveries", items, total, query, last, len(rows) - len(shown)))


async def redeliver(call: Call) -> Answer:
    delivery_id = wire.parse_id(call.path["delivery_id"], wire.DELIVERY_PREFIX)
    now = call.coordinator.get_now()

    def write(connection: Connection) -> tuple[WebhookRow, DeliveryRow]:
        webhook = _find(connection, call)
        row = None
        if delivery_id is not None:
            row = webhook_queue.find_delivery(connection, webhook, delivery_id)
        if row is None:
            raise not_found("delivery")
        if webhook.disabled_ms is not None:
            raise Problem(
                409,
                "the webhook is switched off; a test that arrives switches it on again",
                "WEBHOOK_DISABLED",
            )
        webhook_queue.redeliver(connection, row, now)
        return webhook, row

    return await _send(call, *await call.coordinator.storage.write(write))


async def _send(call: Call, webhook: WebhookRow, delivery: DeliveryRow) -> Answer:
    assert webhook.row_id is not None
    call.coordinator.due_webhooks.add(webhook.row_id)
    call.coordinator.signals.announce(WEBHOOKS)
    return Answer(_view_delivery(webhook, delivery), 202)


def _find(connection: Connection, call: Call) -> WebhookRow:
    """Return the webhook in the path if it is the caller's. Raises `Problem(404)`."""
    webhook_id = wire.parse_id(call.path["webhook_id"], wire.WEBHOOK_PREFIX)
    row = None
    if webhook_id is not None:
        row = webhooks.find_own(connection, call.caller.account_id, webhook_id)
    if row is None:
        raise not_found("webhook")
    return row


def _format_id(row: WebhookRow) -> str:
    return wire.WEBHOOK_PREFIX + row.webhook_id.hex()


def _view(row: WebhookRow, now_ms: int) -> WebhookShown:
    return WebhookShown.model_validate(_describe(row, now_ms))


def _view_made(row: WebhookRow, secret: bytes, now_ms: int) -> WebhookMade:
    return WebhookMade.model_validate({**_describe(row, now_ms), "secret": format_secret(secret)})


def _describe(row: WebhookRow, now_ms: int) -> dict[str, object]:
    is_failing = row.failing_since_ms is not None
    has_old = len(webhooks.list_signers(row, now_ms)) > 1
    status = "failing" if is_failing else "active"
    return {
        "webhook_id": _format_id(row),
        "url": row.url,
        "events": list(webhooks.read_events(row)),
        "description": row.description,
        "status": status if row.disabled_ms is None else "disabled",
        "disabled_reason": row.disabled_reason,
        "disabled_at": wire.format_optional_time(row.disabled_ms),
        "failing_since": wire.format_optional_time(row.failing_since_ms),
        "previous_secret_until": wire.format_optional_time(row.old_until_ms) if has_old else None,
        "created_at": wire.format_time(row.created_ms),
    }


def _view_delivery(webhook: WebhookRow, row: DeliveryRow) -> DeliveryShown:
    is_waiting = row.state == PENDING
    shown = {
        "delivery_id": format_delivery_id(row),
        "webhook_id": _format_id(webhook),
        "type": row.type,
        "state": row.state,
        "attempts": row.attempts,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "payload": row.body,
        "created_at": wire.format_time(row.created_ms),
        "next_attempt_at": wire.format_time(row.next_ms) if is_waiting else None,
        "ended_at": wire.format_optional_time(row.ended_ms),
    }
    return DeliveryShown.model_validate(shown)


ROUTES = (
    Route(
        "POST", "/v1/webhooks", create, "Have an address told of what happens", "Webhooks",
        body=WebhookRequest, answers={201: WebhookMade}, shows_secret=True, works_behind=True,
    ),
    Route(
        "GET", "/v1/webhooks", list_webhooks, "List one's webhooks", "Webhooks",
        query=PageQuery, answers={200: WebhookList}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/webhooks/{webhook_id}", get_webhook, "Get a webhook", "Webhooks",
        answers={200: WebhookShown}, bucket=Bucket.POLLING,
    ),
    Route(
        "DELETE", "/v1/webhooks/{webhook_id}", delete, "Delete a webhook", "Webhooks",
        answers={204: None}, works_behind=True,
    ),
    Route(
        "POST", "/v1/webhooks/{webhook_id}/test", test,
        "Send a test; one that arrives switches it on", "Webhooks",
        answers={202: DeliveryShown}, works_behind=True,
    ),
    Route(
        "POST", "/v1/webhooks/{webhook_id}/rotate", rotate,
        "Give a webhook a new secret, shown once", "Webhooks",
        answers={200: WebhookMade}, shows_secret=True, works_behind=True,
    ),
    Route(
        "GET", "/v1/webhooks/{webhook_id}/deliveries", list_deliveries,
        "List a webhook's deliveries", "Webhooks",
        query=DeliveriesQuery, answers={200: DeliveryList}, bucket=Bucket.POLLING,
    ),
    Route(
        "POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", redeliver,
        "Send a delivery again", "Webhooks",
        answers={202: DeliveryShown}, works_behind=True,
    ),
)  # fmt: skip
