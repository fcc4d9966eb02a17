"""How a command takes a request: a JSON file, stdin, or members named one by one."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

MAX_BODY_BYTES: Final = 16 * 1024 * 1024


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or in stdin for `-`. Raises `CommandError`."""
    if str(path) == "-":
        data = sys.stdin.buffer.read(MAX_BODY_BYTES + 1)
    else:
        with path.open("rb") as file:
            data = file.read(MAX_BODY_BYTES + 1)
    if len(data) > MAX_BODY_BYTES:
        raise CommandError(
            f"{path} is over {MAX_BODY_BYTES} bytes", ExitCode.USAGE, "aitbc files upload FILE"
        )
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: {error}", ExitCode.USAGE, f"correct {path}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{path} is no JSON object", ExitCode.USAGE, f"correct {path}")
    return found


def read_members(given: list[str], option: str) -> dict[str, Any]:
    """Return members given as NAME=VALUE; a value that is JSON is read as such, else it is text."""
    members: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise CommandError(
                f"{option} {text!r}: NAME=VALUE is expected", ExitCode.USAGE, "put it into quotes"
            )
        try:
            members[name] = json.loads(value)
        except (ValueError, RecursionError):
            members[name] = value
    return members
