import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from ledger import crypto
from ledger.keystore import LOW_COST, Keystore
from node.folder import FolderLock

SEED = bytes(range(32))
KEY = crypto.compute_public_key(SEED)
ADDRESS = crypto.format_address(crypto.compute_address(KEY))

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("keys")
    Keystore(folder).add("validator", SEED, b"secret", LOW_COST)
    environment = {
        "AITBC_KEYSTORE": str(folder),
        "AITBC_KEYSTORE_PASSWORD": "secret",
        "AITBC_KEYSTORE_PASSWORD_FILE": None,
        "AITBC_DATA": None,
    }
    runner = CliRunner(env=environment)
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def template(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genesis, and with a node's folder made by the commands."""
    folder = tmp_path_factory.mktemp("template")
    genesis = folder / "genesis.json"
    made = run(
        *("genesis", "new", "-o", genesis, "--name", "test", "--dev"),
        *("--authority", KEY.hex(), "--allocation", f"{ADDRESS}=1000"),
    )
    assert made.exit_code == 0, made.stderr
    data = folder / "data"
    made = run(
        *("node", "init", "--data", data, "--genesis", genesis, "--key", "validator"),
        *("--set", "api_port=9005", "--operator-key-file", folder / "operator", "--json"),
    )
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["address"] == ADDRESS
    return folder


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    """A node's folder of the test's own."""
    return shutil.copytree(template, tmp_path / "own") / "data"


def test_a_new_node_is_whole_and_private(run: Run, data: Path) -> None:
    assert data.stat().st_mode & 0o777 == 0o700
    for name in ("node.db", "node.key", "node.password", "database.key"):
        assert (data / name).stat().st_mode & 0o777 == 0o600
    operator = data.parent / "operator"
    assert operator.read_text().startswith("aitbc_")
    assert operator.stat().st_mode & 0o777 == 0o600
    with pytest.raises(sqlite3.DatabaseError):
        connection = sqlite3.connect(data / "node.db")
        try:
            connection.execute("select * from sqlite_master")
        finally:
            connection.close()
    checked = run("node", "verify-chain", "--data", data, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["height"] == 0


def test_a_node_is_not_made_twice(run: Run, data: Path) -> None:
    genesis = data.parent / "genesis.json"
    again = run("node", "init", "--data", data, "--genesis", genesis, "--key", "validator")
    assert (again.exit_code, again.stdout) == (3, "")


def test_the_config_shows_what_is_in_force(run: Run, data: Path) -> None:
    def read(*more: str) -> str:
        shown = run("node", "config", "--data", data, "--json", *more)
        settings = json.loads(shown.stdout)["settings"]
        return next(str(each["value"]) for each in settings if each["name"] == "api_port")

    assert read() == "9005"
    assert read("--set", "api_port=9006") == "9006"


@pytest.mark.parametrize("setting", ["no_such=1", "api_port=a lot", "api_port"])
def test_a_setting_without_meaning_is_refused(run: Run, data: Path, setting: str) -> None:
    result = run("node", "config", "--data", data, "--set", setting)
    assert result.exit_code in (2, 3)
    assert result.stdout == ""


def test_a_backup_is_whole_and_never_replaces_a_file(run: Run, data: Path) -> None:
    copy = data.parent / "copy.db"
    made = run("node", "backup", "--data", data, "-o", copy, "--json")
    assert json.loads(made.stdout) == {"backup": str(copy), "bytes": copy.stat().st_size}
    assert run("node", "backup", "--data", data, "-o", copy).exit_code == 3
    (data / "node.db").unlink()
    copy.rename(data / "node.db")
    assert run("node", "verify-chain", "--data", data).exit_code == 0


def test_after_a_rekey_only_the_new_key_opens(run: Run, data: Path) -> None:
    old = (data / "database.key").read_bytes()
    assert run("node", "rekey", "--data", data).exit_code == 0
    new = (data / "database.key").read_bytes()
    assert new != old
    assert run("node", "verify-chain", "--data", data).exit_code == 0
    (data / "database.key").write_bytes(old)
    refused = run("node", "verify-chain", "--data", data)
    assert refused.exit_code == 11
    assert "next:" in refused.stderr


def test_nothing_is_rekeyed_under_a_running_node(run: Run, data: Path) -> None:
    old = (data / "database.key").read_bytes()
    lock = FolderLock(data)
    try:
        assert run("node", "rekey", "--data", data).exit_code == 16
        checked = run("node", "verify-chain", "--data", data, "--json")
    finally:
        lock.release()
    assert (data / "database.key").read_bytes() == old
    assert checked.exit_code == 0
    assert "copy" in checked.stderr
    assert not list(data.glob(".verify-*"))


@pytest.mark.parametrize(
    ("name", "mode", "code"),
    [("database.key", None, 10), ("database.key", 0o644, 12), ("genesis.json", None, 3)],
)
def test_a_folder_that_is_not_as_it_should_be_is_refused(
    run: Run, data: Path, name: str, mode: int | None, code: int
) -> None:
    if mode is None:
        (data / name).unlink()
    else:
        os.chmod(data / name, mode)
    result = run("node", "verify-chain", "--data", data)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "next:" in result.stderr


def test_an_audit_without_settlements_says_so(run: Run, data: Path) -> None:
    audited = run("node", "audit", "--data", data, "--json")
    assert audited.exit_code == 0, audited.stderr
    assert json.loads(audited.stdout)["checked"] == 0
    assert "nothing was checked" in audited.stderr


def test_a_node_does_not_run_where_there_is_none(run: Run, tmp_path: Path) -> None:
    for command in ("verify-chain", "audit", "rekey"):
        assert run("node", command, "--data", tmp_path / "absent").exit_code == 3
