"""How the calls about webhooks are written: which address is told of which events."""

from collections.abc import Sequence

from aitbc.calls.common import as_none, drop_nulls, get, get_page, post, quote
from aitbc.market_models import Delivery, Webhook
from aitbc.models import Page
from aitbc.steps import Call


def create_webhook(
    url: str, events: Sequence[str], *, description: str | None = None
) -> Call[Webhook]:
    """Have events sent to an address; the answer's `secret` is shown this once.

    Nothing keeps a secret to repeat the answer, so a lost one is not asked for again.
    """
    body = {"url": url, "events": list(events), "description": description}
    return post("/v1/webhooks", drop_nulls(body), Webhook)


def list_webhooks(*, limit: int = 50, cursor: str | None = None) -> Call[Page[Webhook]]:
    """Return a page of one's own webhooks, without their secrets."""
    return get_page("/v1/webhooks", {"limit": limit, "cursor": cursor}, "webhooks", Webhook)


def get_webhook(webhook_id: str) -> Call[Webhook]:
    """Return a webhook, without its secret."""
    return get(_get_path(webhook_id), Webhook)


def delete_webhook(webhook_id: str) -> Call[None]:
    """Stop a webhook for good."""
    return Call("DELETE", _get_path(webhook_id), as_none, is_repeatable=True)


def send_test_event(webhook_id: str) -> Call[Delivery]:
    """Send a test to a webhook's address; one that arrives switches it on again."""
    return post(f"{_get_path(webhook_id)}/test", None, Delivery)


def rotate_webhook(webhook_id: str) -> Call[Webhook]:
    """Give a webhook a new secret, shown this once."""
    return post(f"{_get_path(webhook_id)}/rotate", None, Webhook)


def list_deliveries(
    webhook_id: str,
    *,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[Delivery]]:
    """Return a page of a webhook's deliveries; `state` is `pending`, `delivered` or `dead`."""
    query = {"state": state, "limit": limit, "cursor": cursor}
    return get_page(f"{_get_path(webhook_id)}/deliveries", query, "deliveries", Delivery)


def redeliver(webhook_id: str, delivery_id: str) -> Call[Delivery]:
    """Send a delivery once more."""
    path = f"{_get_path(webhook_id)}/deliveries/{quote(delivery_id)}/redeliver"
    return post(path, None, Delivery)


def _get_path(webhook_id: str) -> str:
    return f"/v1/webhooks/{quote(webhook_id)}"
