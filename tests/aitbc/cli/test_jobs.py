"""The commands about jobs, receipts and keys, against a coordinator that really settles."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from tests.support.world import World, open_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


async def run(world: World, *arguments: str, who: str = "client") -> Result:
    """Run `aitbc` in a thread: the coordinator answers in this one."""
    environment = {
        "AITBC_API_KEY": world.people[who].key,
        "AITBC_API_KEY_FILE": None,
        "AITBC_API_URL": world.url,
    }
    return await asyncio.to_thread(CliRunner(env=environment).invoke, app, arguments)


async def read(world: World, *arguments: str, who: str = "client") -> Any:
    result = await run(world, *arguments, "--json", who=who)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def test_a_job_from_prompt_to_exported_receipt(world: World, tmp_path: Path) -> None:
    await world.register()
    submitted = await read(world, "jobs", "submit", "Say hello.", "--max-cost", "0.5")
    job, path = submitted["job_id"], f"/v1/jobs/{submitted['job_id']}"
    await world.until(path, "client", lambda each: each["phase"] == "queued")
    assert (await run(world, "jobs", "results", job)).exit_code == 31
    late = await run(world, "jobs", "wait", job, "--timeout", "0")
    assert (late.exit_code, late.stdout) == (34, "")
    await world.claim(job)
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200
    waited = await read(world, "jobs", "wait", job)
    assert (waited["status"], waited["settlement"]["state"]) == ("completed", "settled")
    results = await run(world, "jobs", "results", job)
    assert (results.stdout, results.stderr) == ("Hello.\n", "")
    assert (await read(world, "jobs", "results", job))["job_id"] == job
    assert [each["job_id"] for each in (await read(world, "jobs", "list"))["jobs"]] == [job]
    receipt = "receipt_" + job.removeprefix("job_")
    shown = await read(world, "receipt", "get", receipt)
    assert (shown["job_id"], shown["units"]) == (job, 12)
    file = tmp_path / "bundle.json"
    exported = await run(world, "receipt", "export", receipt, "--output", str(file))
    assert (exported.exit_code, exported.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())
    assert (await run(world, "jobs", "cancel", job)).exit_code == 31


async def test_a_refused_input_is_told_while_the_job_waits(world: World) -> None:
    await world.register()
    job = (await world.submit())["job_id"]
    await world.claim(job)
    path, refused = f"/v1/jobs/{job}", {"miner_id": "miner_miner", "reason_code": 12_001}
    assert (await world.call("POST", path + "/fail", "miner", refused)).status == 200
    await world.until(path, "client", lambda each: each["phase"] == "queued")
    line = "released at miner_miner: The engine cannot take the job's input. (12001)"
    shown = await run(world, "jobs", "get", job)
    assert line in shown.stdout
    awaited = await run(world, "jobs", "wait", job, "--timeout", "0")
    assert line in awaited.stderr


async def test_a_cancelled_job_is_exit_code_32_to_whom_it_is_awaited(world: World) -> None:
    job = (await world.submit())["job_id"]
    assert (await read(world, "jobs", "get", job))["status"] == "pending"
    assert (await read(world, "jobs", "cancel", job))["status"] == "cancelled"
    waited = await run(world, "jobs", "wait", job)
    assert (waited.exit_code, waited.stdout) == (32, "")
    assert f"{job} is cancelled" in waited.stderr


async def test_an_api_key_is_shown_once_and_revoked(world: World, tmp_path: Path) -> None:
    role = ("--role", "client", "--label", "laptop")
    made = await read(world, "api-keys", "new", *role, who="operator")
    assert made["key"].startswith("aitbc_")
    file = tmp_path / "api.key"
    written = await read(world, "api-keys", "new", *role, "-o", str(file), who="operator")
    assert "key" not in written
    assert file.stat().st_mode & 0o777 == 0o600
    listed = await run(world, "api-keys", "list", "--json", who="operator")
    assert made["key_id"] in {each["key_id"] for each in json.loads(listed.stdout)["keys"]}
    assert made["key"] not in listed.stdout
    revoked = await run(world, "api-keys", "revoke", str(made["key_id"]), who="operator")
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    reply = await world.call("GET", "/v1/jobs", headers={"X-Api-Key": made["key"]})
    assert reply.status == 401
    assert (await run(world, "api-keys", "list")).exit_code == 31
