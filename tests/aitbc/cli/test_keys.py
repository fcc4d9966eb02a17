import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from aitbc.wallet import Wallet
from ledger import crypto
from ledger.keystore import LOW_COST, Keystore

SEED = bytes(range(32))
ADDRESS = crypto.format_address(crypto.compute_address(crypto.compute_public_key(SEED)))

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Keystore(tmp_path / "keys").add("alice", SEED, b"secret", LOW_COST)
    return tmp_path / "keys"


@pytest.fixture
def run(folder: Path) -> Run:
    def invoke(
        *arguments: str, password: str | None = "secret", stdin: str | None = None
    ) -> Result:
        environment = {
            "AITBC_KEYSTORE": str(folder),
            "AITBC_KEYSTORE_PASSWORD": password,
            "AITBC_KEYSTORE_PASSWORD_FILE": None,
        }
        return CliRunner(env=environment).invoke(app, ["keys", *arguments], input=stdin)

    return invoke


def write_private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    os.chmod(path, mode)
    return path


def test_new_prints_the_key_on_stdout_and_the_advice_on_stderr(run: Run, folder: Path) -> None:
    result = run("new", "bob", "--json")
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert made == {
        "name": "bob",
        "address": made["address"],
        "public_key": made["public_key"],
        "path": str(folder / "bob.key"),
    }
    assert "Back up" in result.stderr
    assert "Back up" not in result.stdout
    assert json.loads((folder / "bob.key").read_text())["address"] == made["address"]


def test_a_list_needs_no_password(run: Run) -> None:
    result = run("list", "--json", password=None)
    assert result.exit_code == 0
    (key,) = json.loads(result.stdout)["keys"]
    assert (key["name"], key["address"]) == ("alice", ADDRESS)
    assert ADDRESS in run("list", password=None).stdout


def test_a_key_is_shown_with_what_others_seal_to(run: Run) -> None:
    result = run("show", "alice", "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    private = Wallet(SEED).derive_encryption_key()
    assert shown["encryption_key"] == bytes(private.public_key).hex()
    assert shown["address"] == ADDRESS
    for secret in (SEED, bytes(private)):
        assert secret.hex() not in result.stdout
    assert run("show", "alice", password="wrong").exit_code == 3
    assert run("show", "nobody").exit_code == 3


def test_an_empty_list_says_so_beside_the_data(run: Run, tmp_path: Path) -> None:
    result = run("list", "--keystore", str(tmp_path / "none"))
    assert (result.stdout, result.stderr) == ("", "no keys\n")
    result = run("list", "--json", "--keystore", str(tmp_path / "none"))
    assert json.loads(result.stdout) == {"keys": []}


@pytest.mark.parametrize("text", [SEED.hex(), f"0x{SEED.hex().upper()}\n"])
def test_a_bare_seed_is_imported(run: Run, tmp_path: Path, text: str) -> None:
    source = write_private(tmp_path / "seed", text)
    result = run("import", "carol", str(source), "--json")
    assert json.loads(result.stdout)["address"] == ADDRESS


def test_an_exported_key_file_is_imported_again(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy.key"
    assert run("export", "alice", "-o", str(copy)).exit_code == 0
    assert SEED.hex() not in copy.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600
    result = run("import", "again", str(copy), "--json")
    assert json.loads(result.stdout)["address"] == ADDRESS


def test_a_bare_seed_is_exported_only_with_the_password(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "seed"
    refused = run("export", "alice", "--unencrypted", "-o", str(target), password="wrong")
    assert refused.exit_code == 3
    assert not target.exists()
    assert run("export", "alice", "--unencrypted", "-o", str(target)).exit_code == 0
    assert target.read_text() == SEED.hex() + "\n"


def test_a_password_is_changed(run: Run, tmp_path: Path) -> None:
    new = write_private(tmp_path / "new", "other\n")
    assert run("change-password", "alice", "--new-password-file", str(new)).exit_code == 0
    target = str(tmp_path / "seed")
    assert run("export", "alice", "--unencrypted", "-o", target).exit_code == 3
    assert run("export", "alice", "--unencrypted", "-o", target, password="other").exit_code == 0


def test_the_password_comes_from_a_file_first(run: Run, tmp_path: Path) -> None:
    file = write_private(tmp_path / "password", "secret\nsecond line\n")
    arguments = ("export", "alice", "--unencrypted", "-o", str(tmp_path / "seed"))
    assert run(*arguments, "--password-file", str(file), password="wrong").exit_code == 0


def test_the_password_comes_from_stdin(run: Run, tmp_path: Path) -> None:
    arguments = ("export", "alice", "--unencrypted", "-o", str(tmp_path / "seed"))
    assert run(*arguments, "--password-file", "-", password=None, stdin="secret\n").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "next_step"),
    [
        (("export", "nobody", "-o", "x"), 3, "aitbc keys list"),
        (("export", "No Such", "-o", "x"), 3, "aitbc keys --help"),
        (("new", "alice"), 3, "choose another name or file"),
        (("import", "x", "absent"), 1, "aitbc keys"),
        (("new",), 2, "--help"),
        (("new", "bob", "--password", "on-argv"), 2, "--help"),
    ],
)
def test_a_failure_has_its_code_and_names_the_next_step(
    run: Run, arguments: tuple[str, ...], code: int, next_step: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert next_step in result.stderr


def test_without_a_terminal_a_missing_password_is_an_error_and_no_prompt(run: Run) -> None:
    result = run("new", "bob", password=None)
    assert result.exit_code == 2
    assert "AITBC_KEYSTORE_PASSWORD" in result.stderr


def test_an_empty_password_is_refused(run: Run) -> None:
    assert run("new", "bob", password="").exit_code == 2


def test_a_password_file_that_others_may_read_is_refused(run: Run, tmp_path: Path) -> None:
    file = write_private(tmp_path / "password", "secret\n", 0o644)
    result = run("new", "bob", "--password-file", str(file))
    assert result.exit_code == 12
    assert "chmod 600" in result.stderr


def test_a_source_that_is_no_key_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("import", "x", str(write_private(tmp_path / "seed", "abc")))
    assert (result.exit_code, result.stdout) == (2, "")
