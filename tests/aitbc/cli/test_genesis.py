import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from ledger import crypto

KEY = crypto.compute_public_key(bytes(range(32)))
ADDRESS = crypto.format_address(crypto.compute_address(KEY))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["genesis", *arguments])


def make(path: Path, *more: str) -> Result:
    return run(
        "new",
        *("--output", str(path), "--name", "test", "--authority", KEY.hex()),
        *("--allocation", f"{ADDRESS}=12.5", "--time", "1766828620", *more),
    )


def test_new_show_and_hash_name_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    made = make(path, "--dev", "--parameter", "block_interval=250")
    assert made.exit_code == 0, made.stderr
    chain_id = made.stdout.strip()
    assert len(bytes.fromhex(chain_id)) == 32
    assert run("hash", str(path)).stdout.strip() == chain_id
    assert json.loads(run("hash", str(tmp_path), "--json").stdout) == {"chain_id": chain_id}
    shown = json.loads(run("show", str(path), "--json").stdout)
    assert shown["chain_id"] == chain_id
    assert shown["is_dev"] is True
    assert shown["time"] == 1766828620000
    assert shown["parameters"]["block_interval"] == 250
    assert shown["allocations"] == [{"address": ADDRESS, "amount_base": "12500000000"}]
    assert "12.5 AIT in 1 accounts" in run("show", str(path)).stdout


def test_the_same_words_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert make(first, "--dev").stdout == make(second, "--dev").stdout
    assert first.read_bytes() == second.read_bytes()


def test_a_genesis_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_text("precious")
    result = make(path, "--dev")
    assert (result.exit_code, result.stdout) == (3, "")
    assert path.read_text() == "precious"


def test_a_chain_that_is_no_development_chain_needs_a_key_of_its_own(tmp_path: Path) -> None:
    result = make(tmp_path / "genesis.json")
    assert result.exit_code == 2
    assert "aitbc ceremony" in result.stderr


def test_the_dev_key_is_refused_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    make(path, "--dev")
    path.write_text(path.read_text().replace('"is_dev": true', '"is_dev": false'))
    result = run("hash", str(path))
    assert (result.exit_code, result.stdout) == (20, "")


@pytest.mark.parametrize(
    "more",
    [
        ("--parameter", "no_such=1"),
        ("--parameter", "block_interval=-1"),
        ("--authority", "00"),
        ("--authority", f"{KEY.hex()}:ait1wrong"),
        ("--allocation", f"{ADDRESS}=-1"),
        ("--allocation", f"{ADDRESS}"),
        ("--allocation", "ait1wrong=1"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, more: tuple[str, str]) -> None:
    result = make(tmp_path / "genesis.json", "--dev", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "genesis.json").exists()


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000])
def test_what_is_no_genesis_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "genesis.json"
    path.write_text(content)
    assert run("show", str(path)).exit_code == 3
    assert run("show", str(tmp_path / "absent")).exit_code == 3
