"""What a command says and where: data on stdout, as text or JSON; everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

_PLAIN_WIDTH = 400
"""Columns where stdout is no terminal: wide enough that no hash is ever broken."""


def note(text: str) -> None:
    """Say something to the person at the terminal: on stderr, never among the data."""
    print(text, file=sys.stderr, flush=True)


def print_json(data: object) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def print_line(data: object) -> None:
    """Print one JSON document on a line of its own, at once."""
    print(json.dumps(data, ensure_ascii=False), flush=True)


def print_record(data: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing: its members as JSON, or a line for each that is set.

    For people an amount in AIT says enough; the `*_base` member beside it is for programs.
    """
    if as_json:
        print_json(data)
        return
    shown = {
        name: value
        for name, value in data.items()
        if value is not None and not (name.endswith("_base") and name.removesuffix("_base") in data)
    }
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        print(f"{name.replace('_', ' '):<{width}}  {_format(value)}")


def print_table(
    member: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]], *, as_json: bool
) -> None:
    """Print a list: `{member: [...]}` as JSON with every member, or a table of some `columns`."""
    found = list(rows)
    if as_json:
        print_json({member: found})
        return
    if not found:
        note(f"no {member.replace('_', ' ')}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in found:
        # As text: brackets in it are no markup.
        table.add_row(*(Text(_format(row.get(column))) for column in columns))
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)


def _format(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
