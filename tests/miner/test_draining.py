"""`aitbc miner drain`: no new jobs, what runs is run and settled, and then the miner has ended."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.entries import JobStatus
from miner.cli import app
from miner.draining import DrainFailedError, StillRunningError, drain
from miner.spool import Spool, list_claims
from tests.support.contract_server import ContractServer
from tests.support.miner_bench import until
from tests.support.miner_process import COMMAND, running
from tests.support.text_endpoint import TextEndpoint


async def wait(data: Path, seconds: float | None = None) -> list[list[str]]:
    """Drain, and return what it said that it waits for."""
    said: list[list[str]] = []
    await asyncio.to_thread(drain, data, seconds, said.append)
    return said


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
            with pytest.raises(StillRunningError, match="waits for 1 jobs"):
                await wait(tmp_path / "data", seconds=0)
            await until(lambda: '"draining"' in log.read_text())
            second = server.submit("second")
            command = [*COMMAND, "drain", "--data", str(tmp_path / "data")]
            done = await asyncio.to_thread(
                subprocess.run, command, check=False, stderr=subprocess.PIPE, text=True
            )
            assert done.returncode == 0, done.stderr
            assert first in done.stderr and "owes nothing" in done.stderr
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


async def test_a_miner_without_a_node_that_owes_nothing_ends(tmp_path: Path) -> None:
    nowhere = {"api_urls": '["http://127.0.0.1:1"]', "kinds": '["stable_diffusion"]'}
    with running(tmp_path, **nowhere) as (process, log):
        await until(lambda: "waiting for a node" in log.read_text())
        assert await wait(tmp_path / "data", seconds=20) == [[]]
        assert process.wait(10) == 0


async def test_a_folder_of_no_miner_is_named(tmp_path: Path) -> None:
    with pytest.raises(DrainFailedError, match="no miner's data folder"):
        await wait(tmp_path)


async def test_work_that_rests_without_a_miner_is_told_of(tmp_path: Path) -> None:
    Spool(tmp_path / "spool", bytes(32)).close()
    assert await wait(tmp_path) == []
    (tmp_path / "spool" / f"{'ab' * 32}.work").write_bytes(b"sealed")
    with pytest.raises(DrainFailedError, match=f"job_{'ab' * 32}"):
        await wait(tmp_path)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["drain", "--data", str(tmp_path)])
    assert done.exit_code == 3
    assert "no miner's data folder" in done.stderr
