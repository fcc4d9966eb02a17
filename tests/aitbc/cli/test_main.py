import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from aitbc.cli.main import ELSEWHERE, app

HEAVY = ("aiohttp", "httpx2", "msgspec", "nacl", "pydantic", "rich", "sqlalchemy", "zk")


def iterate_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from iterate_paths(inner, (*path, name))


@pytest.mark.parametrize("path", list(iterate_paths(get_command(app))), ids=" ".join)
def test_each_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "Usage" in result.stdout


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_command_of_another_package_is_loaded_when_it_is_called(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Commands" in result.stdout


SILENT = {
    "api-keys revoke", "ceremony new", "keys change-password", "keys export", "miner drain",
    "miner run", "node rekey", "node run", "receipt export", "receipt open", "files delete",
    "webhooks delete",
}  # fmt: skip
"""Commands that print nothing on stdout: what they make is a file, a change or a process."""


def test_each_command_says_in_one_line_what_it_does() -> None:
    top = get_command(app)
    for path in iterate_paths(top):
        command: Any = top
        for name in path:
            command = command.commands[name]
        first = (command.help or "").strip().split("\n\n")[0]
        assert 10 <= len(" ".join(first.split())) <= 160, (path, first)
        assert first.endswith("."), (path, first)


def test_each_command_that_prints_data_prints_json() -> None:
    top = get_command(app)
    for name, (module, _) in ELSEWHERE.items():
        top.commands[name] = get_command(import_module(module).app)  # type: ignore[attr-defined]
    without = set()
    for path in iterate_paths(top):
        command: Any = top
        for name in path:
            command = command.commands[name]
        options = {option for each in command.params for option in each.opts}
        if not hasattr(command, "commands") and "--json" not in options:
            without.add(" ".join(path))
    assert without == SILENT | {"demo", "audit export"}


def test_the_top_loads_nothing_heavy() -> None:
    """Help and completion run at every Tab: what a command needs it imports when it runs."""
    code = "import sys, aitbc.cli.main; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(HEAVY) & set(loaded) == set()


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["jobs", "nosuch"], ["keys", "list", "--nosuch"]]
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--help" in result.stderr


def test_a_shell_can_complete_commands() -> None:
    result = CliRunner(
        env={"_AITBC_COMPLETE": "complete_bash", "COMP_WORDS": "aitbc ke", "COMP_CWORD": "1"}
    ).invoke(app, [], prog_name="aitbc")
    assert result.exit_code == 0
    assert result.stdout.split() == ["keys"]
