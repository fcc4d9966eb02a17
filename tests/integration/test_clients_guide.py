"""The programs of docs/clients.md, run as they stand against a true node with a miner."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aitbc import errors
from tests.architecture.sources import ROOT
from tests.sdk_js.toolchain import PACKAGE, build_package, find_toolchain
from tests.support.clients import Served, served_node

PAGE = ROOT / "docs" / "clients.md"


def read_program(language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL))


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


@asynccontextmanager
async def mined_node(data: Path) -> AsyncIterator[tuple[Served, dict[str, str]]]:
    """Run a node with a miner; yields it and what a program of its client finds around itself."""
    async with served_node(data) as served:
        await served.register_miner()
        mining = asyncio.create_task(mine(served))
        key = served.keys["client"]
        yield served, {"AITBC_API_URL": served.node.url, "AITBC_API_KEY": key}
        assert not mining.done(), mining
        mining.cancel()
        await asyncio.wait([mining])


async def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    """Return what a program prints, which must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder, env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, complaints = (each.decode() for each in await process.communicate())
    assert process.returncode == 0, complaints
    return output


async def test_the_pages_python_runs(tmp_path: Path) -> None:
    async with mined_node(tmp_path / "n") as (_, environment):
        program = read_program("python")
        output = await run(tmp_path, environment, sys.executable, "-W", "error", "-c", program)
    lines = output.splitlines()
    assert lines[0] == "{'text': 'Hello.'}", output
    assert "openai: Hello." in lines
    assert "404 JOB_NOT_FOUND" in output
    assert "1 of 1" in lines[-2]
    assert (tmp_path / "copy.txt").read_text() == "Say hello."


async def test_the_pages_javascript_runs(tmp_path: Path) -> None:
    tools = find_toolchain()
    await asyncio.to_thread(build_package, tools)
    entry = (PACKAGE / "dist" / "index.js").as_uri()
    program = tmp_path / "program.mjs"
    program.write_text(read_program("js").replace("@aitbc/client", entry))
    async with mined_node(tmp_path / "n") as (_, environment):
        assert await run(tmp_path, environment, str(tools.node), str(program)) == "Hello.\n"


def test_every_error_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"`(\w+Error)`", PAGE.read_text()))
    assert len(named) > 5
    assert all(issubclass(getattr(errors, name), errors.AITBCError) for name in named)
