"""A true node with people who have keys: custodial ones, and one who signs by itself."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aitbc.client import AsyncAITBCClient
from aitbc.wallet import Wallet
from genesis.document import Genesis, dump_genesis
from ledger.transactions import Transfer
from node import folder
from tests.architecture.sources import ROOT
from tests.support.custody import enrol, post, until
from tests.support.node import AIT, MINER, NODE, RunningNode, build_genesis, reopened_node

HOLDER = Wallet(bytes([9]) * 32)
HOLDER_FUNDS = 100 * AIT


class Ended(NamedTuple):
    """A command that has ended."""

    exit_code: int | None
    stdout: str
    stderr: str


class Served(NamedTuple):
    """A node and the keys of people: client, miner, operator, holder."""

    node: RunningNode
    genesis: Genesis
    keys: dict[str, str]

    def connect(self, who: str = "client", **choices: Any) -> AsyncAITBCClient:
        """Return a person's client; the holder's signs by itself."""
        if who == "holder":
            choices = {"wallet": HOLDER, **choices}
        return AsyncAITBCClient(self.node.url, self.keys[who], **choices)

    async def register_miner(self) -> None:
        """Register the miner `m` and wait until it may work."""
        async with self.connect("miner") as miner:
            await miner.miners.register(miner_id="m", capabilities=["llm_inference"])
        headers = {"X-Api-Key": self.keys["miner"]}
        await until(self.node, "/v1/miners/m", headers, lambda each: each["status"] == "active")

    async def complete(self, job_id: str, result: Any = "Hello.", units: int = 3) -> None:
        """Have the miner `m`, which is registered where it is new, do a job."""
        await self.register_miner()
        async with self.connect("miner") as miner:
            async with asyncio.timeout(20):
                found = None
                while found is None or found.job_id != job_id:
                    found = await miner.miners.get_available_job("m", wait=5)
            await miner.miners.claim(job_id, "m")
            report = {"miner_id": "m", "result": result, "units": units}
            await miner.miners.complete(job_id, report)

    async def start_command(
        self, *arguments: str, who: str = "client", **environment: str
    ) -> asyncio.subprocess.Process:
        """Start `aitbc` in a process of its own: the node's log is on this one's stdout."""
        given = {"AITBC_API_KEY": self.keys[who], "AITBC_API_URL": self.node.url}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aitbc.cli.main", *arguments,
            cwd=ROOT, env={"PATH": os.defpath, **given, **environment},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run_command(self, *arguments: str, who: str = "client", **environment: str) -> Ended:
        """Run `aitbc` to its end."""
        process = await self.start_command(*arguments, who=who, **environment)
        stdout, stderr = await process.communicate()
        return Ended(process.returncode, stdout.decode(), stderr.decode())

    async def read_command(self, *arguments: str, who: str = "client", **environment: str) -> Any:
        """Return the JSON that a command prints, which must succeed."""
        ended = await self.run_command(*arguments, "--json", who=who, **environment)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)


@asynccontextmanager
async def served_node(data: Path) -> AsyncIterator[Served]:
    """Run a node whose people have keys; the holder is funded once it is asked for."""
    genesis = build_genesis()
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), NODE.seed)
    enrolled = await asyncio.to_thread(enrol, data)
    keys = {name: headers["X-Api-Key"] for name, headers in enrolled.items()}
    async with reopened_node(data, genesis) as node:
        body = {"role": "client", "address": HOLDER.text_address}
        made = await post(node, "/v1/api-keys", enrolled["operator"], body)
        await node.send(MINER, Transfer(HOLDER.address, HOLDER_FUNDS))
        yield Served(node, genesis, {**keys, "holder": made["key"]})
