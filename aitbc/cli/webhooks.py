"""`aitbc webhooks`: which addresses are told of which events, and what became of each delivery."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import Commands
from aitbc.cli.output import AsJson, note, print_record, print_table

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Addresses told of events: create, list, test, rotate, deliveries, redeliver, delete.",
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id: webhook_…")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id.")]
SecretOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the secret to a file of mode 0600.")
]
State = Literal["pending", "delivered", "dead"]


@app.command("create")
def create_webhook(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where deliveries go.")],
    events: Annotated[
        list[str], typer.Option("--event", help="job_update, receipt_created, …; repeatable.")
    ],
    description: Annotated[
        str | None, typer.Option("--description", help="A note for yourself.")
    ] = None,
    output: SecretOutput = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Have events sent to an address; the secret is shown this once."""
    with open_client(api_url, api_key_file) as client:
        made = client.webhooks.create(url, events, description=description).to_dict()
    _print_secret(made, output, as_json)


@app.command("list")
def list_webhooks(
    api_url: ApiUrl = DEFAULT_URL, api_key_file: ApiKeyFile = None, as_json: AsJson = False
) -> None:
    """List one's own webhooks, without their secrets."""
    with open_client(api_url, api_key_file) as client:
        rows = [webhook.to_dict() for webhook in client.webhooks.list_all()]
    columns = ("webhook_id", "url", "events", "status", "created_at")
    print_table("webhooks", columns, rows, as_json=as_json)


@app.command("test")
def test_webhook(
    webhook_id: WebhookId,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a test event to a webhook's address."""
    with open_client(api_url, api_key_file) as client:
        delivery = client.webhooks.test(webhook_id)
    print_record(delivery.to_dict(), as_json=as_json)
    note(f"next:  aitbc webhooks deliveries {webhook_id}")


@app.command("rotate")
def rotate_webhook(
    webhook_id: WebhookId,
    output: SecretOutput = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new secret; it is shown this once."""
    with open_client(api_url, api_key_file) as client:
        made = client.webhooks.rotate(webhook_id).to_dict()
    _print_secret(made, output, as_json)


@app.command("deliveries")
def list_deliveries(
    webhook_id: WebhookId,
    state: Annotated[State | None, typer.Option("--state", help="Only those of a state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List a webhook's deliveries, newest first."""
    with open_client(api_url, api_key_file) as client:
        page = client.webhooks.list_deliveries(webhook_id, state=state, limit=limit)
    rows = [delivery.to_dict() for delivery in page.items]
    columns = (
        "delivery_id",
        "type",
        "state",
        "attempts",
        "last_status",
        "last_error",
        "created_at",
    )
    print_table("deliveries", columns, rows, as_json=as_json)


@app.command("redeliver")
def redeliver(
    webhook_id: WebhookId,
    delivery_id: DeliveryId,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery once more."""
    with open_client(api_url, api_key_file) as client:
        delivery = client.webhooks.redeliver(webhook_id, delivery_id)
    print_record(delivery.to_dict(), as_json=as_json)


@app.command("delete")
def delete_webhook(
    webhook_id: WebhookId, api_url: ApiUrl = DEFAULT_URL, api_key_file: ApiKeyFile = None
) -> None:
    """Stop a webhook for good."""
    with open_client(api_url, api_key_file) as client:
        client.webhooks.delete(webhook_id)
    note(f"deleted {webhook_id}")


def _print_secret(made: dict[str, Any], output: Path | None, as_json: bool) -> None:
    if output is not None:
        from ledger.keystore import write_private_file

        write_private_file(output, f"{made.pop('secret')}\n".encode())
        note(f"wrote the secret to {output}")
    print_record(made, as_json=as_json)
    if output is None:
        note("keep the secret now: it is not shown again")
