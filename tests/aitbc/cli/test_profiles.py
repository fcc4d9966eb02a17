"""Nodes by name: where they rest, which one a command goes by, and where a key may go."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from tests.support.scripted_server import Prepared, ScriptedServer, serve

EMPTY = Prepared(200, {"jobs": []})


def run(*arguments: str, stdin: str | None = None, **environment: str | None) -> Result:
    names = ("AITBC_API_KEY", "AITBC_API_KEY_FILE", "AITBC_API_URL", "AITBC_PROFILE")
    given = {**dict.fromkeys(names), **environment}
    return CliRunner(env=given).invoke(app, arguments, input=stdin)


def add(name: str, url: str, key: str = "aitbc_kept") -> Result:
    return run("profile", "add", name, "--url", url, "--key-file", "-", stdin=f"{key}\n")


def read(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def get_keys(server: ScriptedServer) -> list[str | None]:
    return [asked.headers.get("x-api-key") for asked in server.asked]


def test_a_profile_rests_in_a_file_for_its_owner_alone(config_folder: Path) -> None:
    added = add("home", "http://127.0.0.1:1")
    assert added.exit_code == 0, added.stderr
    assert "aitbc_kept" not in added.output
    file = config_folder / "aitbc" / "profiles.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert tomllib.loads(file.read_text()) == {
        "current": "home",
        "profiles": {"home": {"url": "http://127.0.0.1:1", "key": "aitbc_kept"}},
    }
    listed = run("profile", "list", "--json")
    assert "aitbc_kept" not in listed.stdout
    (shown,) = json.loads(listed.stdout)["profiles"]
    assert shown == {
        "name": "home", "url": "http://127.0.0.1:1", "has_key": True, "in_use": True,
    }  # fmt: skip


def test_the_one_in_use_is_changed_and_removed() -> None:
    add("home", "http://127.0.0.1:1")
    add("away", "http://127.0.0.1:2")
    assert [each["in_use"] for each in read("profile", "list")["profiles"]] == [True, False]
    assert read("profile", "use", "away")["in_use"]
    read("profile", "remove", "away")
    assert [each["in_use"] for each in read("profile", "list")["profiles"]] == [False]
    assert run("profile", "use", "away").exit_code == 2


def test_a_command_goes_by_the_profile_in_use_or_by_the_one_it_names() -> None:
    with serve(EMPTY) as home, serve(EMPTY) as away:
        add("home", home.url, "aitbc_home")
        add("away", away.url, "aitbc_away")
        assert run("jobs", "list").exit_code == 0
        assert run("jobs", "list", "--profile", "away").exit_code == 0
        assert run("jobs", "list", AITBC_PROFILE="away").exit_code == 0
    assert get_keys(home) == ["aitbc_home"]
    assert get_keys(away) == ["aitbc_away", "aitbc_away"]


def test_the_environment_goes_before_the_one_in_use_and_behind_the_one_that_is_named() -> None:
    with serve(EMPTY) as home, serve(EMPTY) as other:
        add("home", home.url, "aitbc_home")
        environment = {"AITBC_API_URL": other.url, "AITBC_API_KEY": "aitbc_environment"}
        run("jobs", "list", **environment)
        run("jobs", "list", "--profile", "home", **environment)
    assert get_keys(other) == ["aitbc_environment"]
    assert get_keys(home) == ["aitbc_home"]


def test_a_profiles_key_goes_to_no_other_address() -> None:
    with serve(EMPTY) as home, serve(EMPTY) as other:
        add("home", home.url, "aitbc_home")
        refused = run("jobs", "list", "--api-url", other.url)
        named = run("jobs", "list", "--profile", "home", "--api-url", other.url)
    assert (refused.exit_code, named.exit_code) == (2, 2)
    assert "aitbc profile add" in refused.stderr
    assert (home.asked, other.asked) == ([], [])


def test_a_key_file_on_the_command_line_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("aitbc_file\n")
    file.chmod(0o600)
    with serve(EMPTY) as home:
        add("home", home.url, "aitbc_home")
        run("jobs", "list", "--profile", "home", "--api-key-file", str(file))
    assert get_keys(home) == ["aitbc_file"]


@pytest.mark.parametrize(
    ("name", "url", "key"),
    [
        ("Home", "http://node", "aitbc_k"),
        ("../home", "http://node", "aitbc_k"),
        ("home", "ftp://node", "aitbc_k"),
        ("home", 'http://node"\nkey = "x', "aitbc_k"),
        ("home", "http://node", "two words"),
        ("home", "http://node", ""),
    ],
)
def test_what_cannot_be_one_is_refused(name: str, url: str, key: str, config_folder: Path) -> None:
    result = add(name, url, key)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not config_folder.exists()


def test_without_a_terminal_a_key_is_named_or_renounced() -> None:
    asked = run("profile", "add", "home", "--url", "http://node")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "--key-file" in asked.stderr
    assert not read("profile", "add", "home", "--url", "http://node", "--no-key")["has_key"]


@pytest.mark.parametrize("text", ["profiles = 1", "[profiles.x]\nkey = 'k'", "=", "\xff"])
def test_a_spoilt_file_is_named(text: str, config_folder: Path) -> None:
    file = config_folder / "aitbc" / "profiles.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    file.chmod(0o600)
    result = run("profile", "list")
    assert (result.exit_code, result.stdout) == (3, "")
    assert str(file) in result.stderr
    file.chmod(0o644)
    assert run("profile", "list").exit_code == 12
