"""What a command says when it cannot go on."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from aitbc import errors
from aitbc.cli.failures import explain_failure
from aitbc.cli.main import app
from node.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("sqlalchemy", ["devnet", "--data", "network"]),
        ("sqlcipher3", ["node", "verify-chain", "--data", "node"]),
        ("structlog", ["miner", "run"]),
    ],
)
def test_a_bare_installation_says_what_to_install(
    missing: str, arguments: list[str], tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments!r}; "
        "from aitbc.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert done.stdout == ""
    assert f"the package {missing}" in done.stderr
    assert "aitbc[node,miner]" in done.stderr


def iterate_kinds(kind: type[errors.AITBCError]) -> Iterator[type[errors.AITBCError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from iterate_kinds(each)


def build(kind: type[errors.AITBCError]) -> errors.AITBCError:
    """Return an error of a kind, made as its own kind is made."""
    if issubclass(kind, errors.APIError):
        return kind(400, "SOME_CODE", "some detail", {"errors": ["/a: is missing"]})
    if issubclass(kind, errors.SocketClosedError):
        return kind("closed", close_code=1011)
    if issubclass(kind, errors.ConnectionFailedError):
        return kind("no answer", is_sent=False)
    if issubclass(kind, errors.JobFailedError):
        return kind("failed", None)
    return kind("text")


@pytest.mark.parametrize(
    "kind", [*iterate_kinds(errors.AITBCError)], ids=lambda kind: kind.__name__
)
def test_every_error_names_the_next_command(kind: type[errors.AITBCError]) -> None:
    failure = explain_failure(build(kind))
    assert failure.code not in (ExitCode.OK, ExitCode.USAGE)
    assert re.search(r"aitbc [a-z-]+|the (same )?command", failure.next_step), failure.next_step
    for words in re.findall(r"aitbc ([a-z-]+)(?: ([a-z-]+))?", failure.next_step):
        assert is_command(*words), words


def is_command(group: str, name: str) -> bool:
    commands: Any = get_command(app)
    found = commands.commands.get(group)
    return found is not None and (
        not name or not hasattr(found, "commands") or name in found.commands
    )


def test_a_schema_violation_shows_each_fault() -> None:
    failure = explain_failure(build(errors.UnprocessableError))
    assert failure.message.endswith("\n  /a: is missing")


def test_a_limit_says_when_to_come_back() -> None:
    error = errors.RateLimitError(429, "RATE_LIMIT_EXCEEDED", "slowly", {}, retry_after=7)
    assert explain_failure(error).next_step == "the same command in 7 s"
