"""`aitbc node rollback`, `db check` and `snapshot`, as their users see them."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from node.folder import JOURNAL_FILE, FolderLock
from node.snapshot_restore import BASE_FILE
from node.sqlcipher import PAGE_BYTES
from tests.node.signed_chain import SignedChain, make_node
from tests.node.test_rollback import sign

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    runner = CliRunner(env={"AITBC_DATA": None})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedChain, Path]:
    chain = SignedChain(idle=300)
    chain.transfer(6)
    chain.change_authorities(is_add=True)
    chain.transfer(4)
    return chain, asyncio.run(make_node(tmp_path_factory.mktemp("original") / "node", chain))


@pytest.fixture
def data(made: tuple[SignedChain, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "own")


def test_a_snapshot_goes_into_a_new_folder(
    run: Run, made: tuple[SignedChain, Path], data: Path, tmp_path: Path
) -> None:
    chain, _ = made
    file, new = tmp_path / "snapshot", chain.create_folder(tmp_path / "new")
    created = run("node", "snapshot", "create", "--data", data, "-o", file, "--json")
    record = json.loads(created.stdout)
    assert (record["height"], record["bytes"]) == (chain.head.height, file.stat().st_size)
    assert record["state_root"] == chain.head.state_root.hex()
    assert run("node", "snapshot", "create", "--data", data, "-o", file).exit_code == 3
    genesis = new / "genesis.json"
    restored = run(
        *("node", "snapshot", "restore", "--data", new, "--genesis", genesis, file, "--json")
    )
    assert restored.exit_code == 0, restored.stderr
    assert json.loads(restored.stdout)["state_root"] == record["state_root"]
    assert f"begins with block {chain.head.height}" in restored.stderr
    checked = run("node", "verify-chain", "--data", new, "--json")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["base_height"] == chain.head.height
    assert "begins with a snapshot" in checked.stderr
    (new / BASE_FILE).unlink()
    refused = run("node", "verify-chain", "--data", new)
    assert refused.exit_code == 3
    assert "put it back" in refused.stderr


def test_a_snapshot_that_is_not_the_chains_is_refused(
    run: Run, made: tuple[SignedChain, Path], data: Path, tmp_path: Path
) -> None:
    chain, _ = made
    file, new = tmp_path / "snapshot", chain.create_folder(tmp_path / "new")
    assert run("node", "snapshot", "create", "--data", data, "-o", file).exit_code == 0
    other = SignedChain(idle=1).create_folder(tmp_path / "other")
    restore = ("node", "snapshot", "restore", file)
    assert run(*restore, "--data", other).exit_code == 17
    wrong = run(*restore, "--data", new, "--genesis", other / "genesis.json")
    assert wrong.exit_code == 17
    assert run(*restore, "--data", data).exit_code == 3
    assert run(*restore, "--data", tmp_path / "nowhere").exit_code == 3
    file.write_bytes(file.read_bytes()[:-1])
    refused = run(*restore, "--data", new)
    assert (refused.exit_code, refused.stdout) == (33, "")
    assert "next:" in refused.stderr
    assert not (new / BASE_FILE).exists()


def test_going_back_and_its_refusals(run: Run, made: tuple[SignedChain, Path], data: Path) -> None:
    chain, _ = made
    done = run("node", "rollback", "--data", data, 9, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["height"], record["removed_blocks"]) == (9, chain.head.height - 9)
    assert run("node", "rollback", "--data", data, 10).exit_code == 3
    assert run("node", "rollback", "--data", data, -1).exit_code == 2
    assert run("node", "verify-chain", "--data", data).exit_code == 0
    sign(data, chain, range(1, 8), floor=5)
    refused = run("node", "rollback", "--data", data, 4)
    assert (refused.exit_code, refused.stdout) == (24, "")
    assert "Going back" in refused.stderr
    (data / JOURNAL_FILE).unlink()
    assert run("node", "rollback", "--data", data, 6).exit_code == 21


def test_nothing_goes_on_beside_a_running_node(
    run: Run, made: tuple[SignedChain, Path], data: Path, tmp_path: Path
) -> None:
    chain, _ = made
    new = chain.create_folder(tmp_path / "new")
    locks = [FolderLock(data), FolderLock(new)]
    file = tmp_path / "snapshot"
    assert run("node", "rollback", "--data", data, 3).exit_code == 16
    assert run("node", "snapshot", "create", "--data", data, "-o", file).exit_code == 0
    assert run("node", "snapshot", "restore", file, "--data", new).exit_code == 16
    checked = run("node", "db", "check", "--data", data, "--json")
    for lock in locks:
        lock.release()
    assert checked.exit_code == 0
    assert "copy" in checked.stderr
    assert not list(data.glob(".verify-*"))


def test_the_check_says_what_it_found_and_how_long_it_took(run: Run, data: Path) -> None:
    checked = run("node", "db", "check", "--data", data, "--json")
    rows = json.loads(checked.stdout)["checks"]
    names = [row["name"] for row in rows]
    assert names == ["pages", "tables", "state", "blocks", "index", "mempool", "signatures"]
    assert all(row["found"] and row["seconds"] >= 0 for row in rows)
    path = data / "node.db"
    damaged = bytearray(path.read_bytes())
    damaged[-PAGE_BYTES + 100] ^= 1
    path.write_bytes(damaged)
    refused = run("node", "db", "check", "--data", data)
    assert (refused.exit_code, refused.stdout) == (15, "")
    assert "not authentic" in refused.stderr
