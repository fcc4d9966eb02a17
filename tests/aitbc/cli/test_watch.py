"""What happens, as it happens: on the command line, at a true node."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from tests.architecture.sources import ROOT
from tests.support.clients import Served, served_node


class Ended(NamedTuple):
    """A command that has ended."""

    exit_code: int | None
    stdout: str
    stderr: str


async def start(served: Served, *arguments: str) -> asyncio.subprocess.Process:
    """Start `aitbc` in a process of its own: the node's log is on this one's stdout."""
    environment = {"AITBC_API_KEY": served.keys["client"], "AITBC_API_URL": served.node.url}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aitbc.cli.main", *arguments,
        cwd=ROOT, env={**environment, "PATH": os.defpath},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(served: Served, *arguments: str) -> Ended:
    process = await start(served, *arguments)
    stdout, stderr = await process.communicate()
    return Ended(process.returncode, stdout.decode(), stderr.decode())


async def test_a_job_is_watched_to_its_end(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        job = await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        watch = await start(served, "jobs", "watch", job.job_id, "--json")
        assert watch.stdout is not None
        first = await asyncio.wait_for(watch.stdout.readline(), 20)
        await served.complete(job.job_id)
        rest, complaint = await asyncio.wait_for(watch.communicate(), 20)
        assert watch.returncode == 0, complaint
        lines = [json.loads(line) for line in (first + rest).splitlines()]
        assert {line["data"]["job_id"] for line in lines} == {job.job_id}
        assert lines[-1]["data"]["status"] == "completed"
        again = await run(served, "jobs", "watch", job.job_id)
        assert (again.exit_code, again.stdout) == (0, "")
        assert "completed" in again.stderr
        absent = await run(served, "jobs", "watch", "job_" + "0" * 64)
        assert (absent.exit_code, absent.stdout) == (31, "")
        assert "aitbc jobs list" in absent.stderr


async def test_blocks_and_all_jobs_are_watched_until_one_looks_away(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        blocks = await start(served, "blocks", "watch", "--json")
        jobs = await start(served, "jobs", "watch", "--since", "0")
        assert blocks.stdout is not None and jobs.stdout is not None
        await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        told = await asyncio.wait_for(jobs.stdout.readline(), 20)
        assert told.startswith(b"job_update  job_id=job_")
        waiting = asyncio.create_task(blocks.stdout.readline())
        async with asyncio.timeout(40):
            while not waiting.done():
                await client.jobs.create(prompt="Say hello.", max_cost="0.01")
                await asyncio.wait([waiting], timeout=0.2)
        assert json.loads(waiting.result())["type"] == "block_created"
        for process in (blocks, jobs):
            process.send_signal(signal.SIGINT)
            _, complaint = await process.communicate()
            assert b"Traceback" not in complaint
            assert process.returncode in (1, 130)
