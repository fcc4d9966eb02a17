"""`aitbc audit`: who did what to which object at a node, for its operator."""

import json
import os
from collections.abc import Callable, Iterator
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
    with open_transport(api_url, api_key_file) as send:
        if output is None:
            for entry in _iterate(send, query):
                print_line(entry)
            return
        count = _write(output, _iterate(send, query))
    note(f"wrote {count} entries to {output}")


def _iterate(send: Callable[..., Any], query: dict[str, Any]) -> Iterator[Any]:
    """Yield each entry, asking for one page after the other."""
    where: dict[str, Any] = {}
    while True:
        page = send("GET", "/v1/audit/log", query={**query, **where, "limit": _PAGE})
        yield from page["entries"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return
        where = {"cursor": cursor}


def _write(path: Path, entries: Iterator[Any]) -> int:
    """Write a file of mode 0600, whole or not at all; return how many entries it holds."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            for entry in entries:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                count += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count
