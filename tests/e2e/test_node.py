"""One node as its operator meets it: what it refuses to start with, what a kill leaves behind."""

import asyncio
import json
import secrets
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator import accounts
from coordinator.principals import Role
from genesis.document import compute_chain_id, dump_genesis, load_genesis
from ledger.transactions import Transfer
from node import folder
from node.chain_store import ChainStore
from node.exit_codes import ExitCode
from node.folder import FolderLock
from node.run import run
from node.settings import load_settings
from node.verify_chain import verify_chain
from tests.support.node import CLIENT, MINER, NODE, build_genesis

pytestmark = pytest.mark.usefixtures("node_key")

KILLS = 3
BATCH = 50


def make_folder(data: Path) -> Path:
    folder.create_folder(data, dump_genesis(build_genesis(heartbeat_interval=300)), NODE.seed)
    return data


def start(data: Path, **flags: Any) -> ExitCode:
    """Start a node that is expected to refuse; return its exit code."""
    return run({"data": data, "api_port": 0, "log_level": "error", **flags})


def hash_files(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"}


def make_plain(database: Path) -> None:
    for path in database.parent.glob("node.db*"):
        path.unlink()
    connection = sqlite3.connect(database)
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()


def change_genesis(data: Path, **members: Any) -> None:
    path = data / "genesis.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


def damage_page(database: Path, number: int) -> None:
    """Flip a byte of one page, counted from 0."""
    content = bytearray(database.read_bytes())
    content[number * 4096 + 100] ^= 1
    database.write_bytes(content)


REFUSALS: dict[str, tuple[Callable[[Path], object], ExitCode]] = {
    "no key file": (
        lambda data: (data / "database.key").unlink(),
        ExitCode.DATABASE_KEY_MISSING,
    ),
    "another key": (
        lambda data: (data / "database.key").write_text(secrets.token_hex(32) + "\n"),
        ExitCode.DATABASE_KEY_WRONG,
    ),
    "a key that others may read": (
        lambda data: (data / "database.key").chmod(0o644),
        ExitCode.KEY_FILE_PERMISSIONS,
    ),
    "a plain-text database": (
        lambda data: make_plain(data / "node.db"),
        ExitCode.DATABASE_PLAIN_TEXT,
    ),
    "a damaged database": (
        lambda data: damage_page(data / "node.db", 1),
        ExitCode.DATABASE_DAMAGED,
    ),
    "another chain's genesis": (
        lambda data: change_genesis(data, name="another-chain"),
        ExitCode.WRONG_CHAIN,
    ),
    "the DEV key on a chain that is not DEV": (
        lambda data: change_genesis(data, is_dev=False),
        ExitCode.VERIFYING_KEY_REFUSED,
    ),
    "a verifying key that is none": (
        lambda data: change_genesis(data, verifying_key="00" * 100),
        ExitCode.VERIFYING_KEY_REFUSED,
    ),
    "no genesis": (lambda data: (data / "genesis.json").unlink(), ExitCode.CONFIGURATION),
    "no password": (lambda data: (data / "node.password").unlink(), ExitCode.CONFIGURATION),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_refuses_to_start_and_changes_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, code = REFUSALS[name]
    data = make_folder(tmp_path / "node")
    spoil(data)
    before = hash_files(data)
    assert start(data) is code
    assert hash_files(data) == before
    assert capfd.readouterr().err.startswith("aitbc node: ")


def test_encryption_is_off_only_where_the_chain_is_dev(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "node")
    # The chain is DEV, but this database is encrypted: no silent fallback either way.
    assert start(data, db_encryption_enabled=False) in (
        ExitCode.DATABASE_KEY_MISSING,
        ExitCode.DATABASE_PLAIN_TEXT,
    )


def test_a_folder_has_one_process(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "node")
    lock = FolderLock(data)
    assert start(data) is ExitCode.DATA_FOLDER_LOCKED
    lock.release()


class Process:
    """A node's process and a session with it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, key: str) -> None:
        self._process = process
        self._url = url
        self._headers = {"X-Api-Key": key}
        self.session = aiohttp.ClientSession()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        async with self.session.request(
            method, self._url + path, json=body, headers={**self._headers, **headers}
        ) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def wait_value(self, path: str, member: str, least: int) -> None:
        async with asyncio.timeout(30):
            while True:
                if (await self.call("GET", path))[member] >= least:
                    return
                await asyncio.sleep(0.02)

    async def end(self, number: signal.Signals) -> int:
        await self.session.close()
        self._process.send_signal(number)
        return await self._process.wait()


@asynccontextmanager
async def run_process(data: Path, key: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node", "--data", str(data), "--api-port", "0",
        "--log-level", "info", stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    url = ""
    async with asyncio.timeout(60):
        while not url:
            line = json.loads(await process.stderr.readline())
            if line["event"] == "api ready":
                url = line["addresses"][0]
    drain = asyncio.create_task(process.stderr.read())
    node = Process(process, url, key)
    try:
        yield node
    finally:
        if process.returncode is None:
            await node.end(signal.SIGKILL)
        await drain


def make_key(data: Path) -> str:
    """Give the client's account an API key, as an operator would; return it."""
    from node.server import derive_sealing_key  # noqa: PLC0415 - a second of imports

    database = folder.open_database(load_settings(data=data), folder.open_genesis(data))

    def work(connection: Any) -> str:
        sealing = derive_sealing_key(NODE.seed)
        account = accounts.import_account(connection, CLIENT.seed, sealing, 0)
        return accounts.create_key(connection, NODE.address, account, Role.CLIENT, "", 0).key

    try:
        return database.write_now(work)
    finally:
        database.close_now()


async def test_killed_at_any_moment_nothing_accepted_is_lost_or_done_twice(
    tmp_path: Path,
) -> None:
    data = make_folder(tmp_path / "node")
    key = make_key(data)
    genesis = load_genesis((data / "genesis.json").read_bytes())
    chain_id, nonce, jobs = compute_chain_id(genesis), 0, set()
    for kill in range(KILLS):
        async with run_process(data, key) as node:
            raws = [
                MINER.sign(
                    Transfer(NODE.address, 1), chain_id=chain_id, nonce=nonce + number,
                    fee_rate=10, valid_until=50_000,
                ).raw.hex()
                for number in range(BATCH)
            ]  # fmt: skip
            verdicts = await node.call("POST", "/v1/transactions", raws)
            assert all(verdict["status"] == "accepted" for verdict in verdicts)
            nonce += BATCH
            body, tag = {"prompt": "killed", "max_cost": "1"}, {"Idempotency-Key": f"job-{kill}"}
            job = await node.call("POST", "/v1/jobs", body, **tag)
            jobs.add(job["job_id"])
            await asyncio.sleep(kill * 0.03)
            await node.end(signal.SIGKILL)
    async with run_process(data, key) as node:
        await node.wait_value(f"/v1/accounts/{MINER.text_address}", "nonce", nonce)
        # The same bytes once more, now that they are final: the same answer, and nothing done.
        again = await node.call("POST", "/v1/transactions", raws)
        assert again == verdicts
        await node.wait_value("/explorer/stats", "total_jobs", len(jobs))
        for kill in range(KILLS):
            body, tag = {"prompt": "killed", "max_cost": "1"}, {"Idempotency-Key": f"job-{kill}"}
            assert (await node.call("POST", "/v1/jobs", body, **tag))["job_id"] in jobs
        account = await node.call("GET", f"/v1/accounts/{MINER.text_address}")
        assert account["nonce"] == account["pending_nonce"] == nonce
        supply = await node.call("GET", "/v1/audit/supply")
        assert int(supply["escrow_base"]) == len(jobs) * 10**9
        assert await node.end(signal.SIGTERM) == 0
    check_chain(data)


def check_chain(data: Path) -> None:
    """Verify the whole chain again from genesis."""
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    store = ChainStore(database, compute_chain_id(genesis))
    report = verify_chain(store, genesis)
    assert report.height == store.get_head().height
    store.close()
    database.close_now()


async def start_process(data: Path) -> int:
    """Start a node that is expected to refuse, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node", "--data", str(data), "--api-port", "0",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


async def test_a_lost_or_older_journal_of_votes_is_refused(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "node")
    key = make_key(data)
    older = tmp_path / "older.bin"
    for turn in range(2):
        async with run_process(data, key) as node:
            await node.wait_value("/v1/chain/status", "height", turn + 1)
            assert await node.end(signal.SIGTERM) == 0
        if turn == 0:
            shutil.copy(data / "journal.bin", older)
    shutil.copy(older, data / "journal.bin")
    assert await start_process(data) == ExitCode.SIGN_STATE_MISSING_OR_OLD
    (data / "journal.bin").unlink()
    assert await start_process(data) == ExitCode.SIGN_STATE_MISSING_OR_OLD
