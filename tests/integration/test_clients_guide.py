"""The Python of docs/clients.md, run as one program against a true node with a miner."""

import asyncio
import os
import re
import sys
from pathlib import Path

from aitbc import errors
from tests.architecture.sources import ROOT
from tests.support.clients import Served, served_node

PAGE = ROOT / "docs" / "clients.md"


def read_program() -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


async def mine(served: Served) -> None:
    """Complete every job with the same text, until cancelled."""
    async with served.connect("miner") as client:
        while True:
            job = await client.miners.get_available_job("m", wait=2)
            if job is None:
                continue
            await client.miners.claim(job.job_id, "m")
            report = {"miner_id": "m", "result": {"text": "Hello."}, "units": 3}
            await client.miners.complete(job.job_id, report)


async def test_the_pages_program_runs(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served:
        await served.register_miner()
        mining = asyncio.create_task(mine(served))
        environment = {
            "AITBC_API_URL": served.node.url,
            "AITBC_API_KEY": served.keys["client"],
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", read_program(),
            cwd=tmp_path, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, complaints = (each.decode() for each in await process.communicate())
        assert process.returncode == 0, complaints
        assert not mining.done(), mining
        mining.cancel()
        await asyncio.wait([mining])
    lines = output.splitlines()
    assert lines[0] == "{'text': 'Hello.'}", output
    assert "404 JOB_NOT_FOUND" in output
    assert "1 of 1" in lines[-2]
    assert (tmp_path / "copy.txt").read_text() == "Say hello."


def test_every_error_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"`(\w+Error)`", PAGE.read_text()))
    assert len(named) > 5
    assert all(issubclass(getattr(errors, name), errors.AITBCError) for name in named)
