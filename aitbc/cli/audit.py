"""`aitbc audit`: who did what to which object at a node, for its operator."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_transport
from aitbc.cli.failures import Commands
from aitbc.cli.output import note, print_line

app = typer.Typer(cls=Commands, no_args_is_help=True, help="A node's audit log: export.")

_PAGE: Final = 100


@app.command("export")
def export_log(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file of mode 0600.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="A date or a date-time, inclusive.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="A date or a date-time.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only of one action.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only of an account.")] = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Export the audit log as JSON lines, newest first; needs an operator's key."""
    filters = {"from": start, "to": end, "action": action, "account": account}
    query: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    count, lines = 0, []
    with open_transport(api_url, api_key_file) as send:
        cursor: str | None = None
        while True:
            where = {} if cursor is None else {"cursor": cursor}
            page = send("GET", "/v1/audit/log", query={**query, **where, "limit": _PAGE})
            for entry in page["entries"]:
                count += 1
                if output is None:
                    print_line(entry)
                else:
                    lines.append(json.dumps(entry, ensure_ascii=False))
            cursor = page.get("next_cursor")
            if cursor is None:
                break
    if output is not None:
        from ledger.keystore import write_private_file

        write_private_file(output, "".join(f"{line}\n" for line in lines).encode(), is_new=False)
        note(f"wrote {count} entries to {output}")
