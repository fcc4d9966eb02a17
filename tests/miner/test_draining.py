"""`aitbc miner drain`: no new jobs, what runs is run and settled, and then the miner has ended."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from ledger.entries import JobStatus
from miner.spool import find_owner, list_claims
from tests.support.contract_server import ContractServer
from tests.support.miner_bench import until
from tests.support.miner_process import COMMAND, running
from tests.support.text_endpoint import TextEndpoint

HOLD = """
import sys, time
from pathlib import Path
from miner.spool import Spool
Spool(Path(sys.argv[1]), bytes(32))
print("held", flush=True)
time.sleep(60)
"""


def drain(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "drain", "--data", str(folder), *arguments], stderr=subprocess.PIPE, text=True
    )


async def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, said


async def test_what_runs_is_settled_and_nothing_else_is_taken(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        first = server.submit(max_tokens=60)
        choices = {
            "api_urls": json.dumps([server.url]),
            "text_endpoint": endpoint.url,
            "text_endpoint_model": "served",
        }
        with running(tmp_path, **choices) as (process, log):
            await until(lambda: endpoint.running)
            code, said = await finish(drain(tmp_path / "data", "--timeout", "0"))
            assert code == 34
            assert first in said and "still runs" in said
            await until(lambda: '"draining"' in log.read_text())
            second = server.submit("second")
            code, said = await finish(drain(tmp_path / "data"))
            assert code == 0, said
            assert first in said and "owes nothing" in said
            assert process.wait(10) == 0
    assert server.get_status(first) is JobStatus.SETTLED
    assert server.get_status(second) is JobStatus.QUEUED
    assert not list_claims(tmp_path / "data" / "spool")


async def test_a_miner_that_drains_shuts_down_at_a_second_word(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=2_000)
        choices = {
            "api_urls": json.dumps([server.url]),
            "text_endpoint": endpoint.url,
            "text_endpoint_model": "served",
            "drain_seconds": 4,
        }
        with running(tmp_path, **choices) as (process, log):
            await until(lambda: endpoint.running)
            process.send_signal(signal.SIGUSR1)
            await until(lambda: '"draining"' in log.read_text())
            process.send_signal(signal.SIGTERM)
            await until(lambda: process.poll() is not None, seconds=15)
            assert process.returncode == 0
    assert server.get_status(job_id) is JobStatus.QUEUED  # given back


async def test_a_folder_of_no_miner_is_named(tmp_path: Path) -> None:
    code, said = await finish(drain(tmp_path))
    assert code == 3
    assert "no miner's data folder" in said


def test_work_that_rests_without_a_miner_is_told_of(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, spool], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert find_owner(spool) == holder.pid
        holder.kill()
    assert find_owner(spool) is None
    idle = drain(tmp_path)
    assert idle.communicate(timeout=60)[1] == "it has ended, and owes nothing\n"
    assert idle.returncode == 0
    (spool / f"{'ab' * 32}.work").write_bytes(b"sealed")
    owing = drain(tmp_path)
    assert f"job_{'ab' * 32}" in owing.communicate(timeout=60)[1]
    assert owing.returncode == 3
