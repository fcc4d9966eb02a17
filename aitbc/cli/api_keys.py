"""`aitbc api-keys`: who may use a node's API; run with an operator's key."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_transport
from aitbc.cli.failures import Commands
from aitbc.cli.output import AsJson, note, print_record, print_table

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Keys of a node's API: new, list, revoke."
)

Role = Literal["client", "miner", "operator"]


@app.command("new")
def make_key(
    role: Annotated[Role, typer.Option("--role", help="What the key may do.")],
    label: Annotated[str | None, typer.Option("--label", help="A note for yourself.")] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Account that signs by itself; default: a new custodial one."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the key to a file of mode 0600.")
    ] = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key; it is shown this once and stored only as a hash."""
    body = {"role": role, "label": label, "address": address}
    given = {name: value for name, value in body.items() if value is not None}
    with open_transport(api_url, api_key_file) as send:
        made = send("POST", "/v1/api-keys", body=given)
    if output is not None:
        from ledger.keystore import write_private_file

        write_private_file(output, f"{made.pop('key')}\n".encode())
        note(f"wrote the key to {output}")
    print_record(made, as_json=as_json)
    if output is None:
        note("keep the key now: it is not shown again")


@app.command("list")
def list_keys(
    api_url: ApiUrl = DEFAULT_URL, api_key_file: ApiKeyFile = None, as_json: AsJson = False
) -> None:
    """List the keys, without the secrets."""
    with open_transport(api_url, api_key_file) as send:
        keys: list[dict[str, Any]] = []
        path: str | None = "/v1/api-keys?limit=100"
        while path is not None:
            page = send("GET", path)
            keys += page["keys"]
            cursor = page["next_cursor"]
            path = None if cursor is None else f"/v1/api-keys?limit=100&cursor={cursor}"
    columns = ("key_id", "role", "address", "custody", "label", "created_at")
    print_table("keys", columns, keys, as_json=as_json)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `aitbc api-keys list`.")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Revoke a key at once and for good."""
    with open_transport(api_url, api_key_file) as send:
        send("DELETE", f"/v1/api-keys/{key_id}")
    note(f"revoked {key_id}")
