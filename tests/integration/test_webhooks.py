"""Webhooks and the audit log of a node that is killed, used by the commands that operators have."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from genesis.document import dump_genesis
from node import folder
from tests.architecture.sources import ROOT
from tests.support.custody import Keys, enrol, post
from tests.support.node import NODE, RunningNode, build_genesis
from tests.support.node_process import node_process
from tests.support.webhook_receiver import open_receiver

FLUSHED_SECONDS = 1.0
"""By then the lines of audit are durable."""


async def run_command(node: RunningNode, headers: dict[str, str], *arguments: str) -> str:
    """Return what `aitbc` says on stdout; it must succeed."""
    given = {"AITBC_API_KEY": headers["X-Api-Key"], "AITBC_API_URL": node.url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aitbc.cli.main", *arguments,
        cwd=ROOT, env={"PATH": os.defpath, **given},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


@pytest.mark.usefixtures("node_key")
async def test_what_a_killed_node_owes_arrives_after_it(tmp_path: Path) -> None:
    genesis, data, log = build_genesis(), tmp_path / "node", tmp_path / "log"
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), NODE.seed)
    keys: Keys = await asyncio.to_thread(enrol, data)
    client, operator = keys["client"], keys["operator"]
    async with open_receiver() as receiver:
        receiver.status = 503
        async with node_process(data, genesis, log, is_killed=True) as node:
            text = await run_command(
                node, client, "webhooks", "create", receiver.url, "--event", "job_update", "--json"
            )
            webhook: Any = json.loads(text)["webhook_id"]
            job = await post(node, "/v1/jobs", client, {"prompt": "Hi", "max_cost": "0.5"})
            await receiver.until(lambda messages: len(messages) > 0)
            await asyncio.sleep(FLUSHED_SECONDS)
        owed = receiver.messages[0]
        assert owed.json["data"]["job_id"] == job["job_id"]
        count = len(receiver.messages)
        receiver.status = 200
        async with node_process(data, genesis, log) as node:
            await receiver.until(lambda messages: len(messages) > count)
            again = receiver.messages[count]
            assert again.headers["webhook-id"] == owed.headers["webhook-id"]
            assert again.body == owed.body
            listed = await run_command(
                node, client, "webhooks", "deliveries", webhook, "--state", "delivered", "--json"
            )
            assert owed.headers["webhook-id"] in listed
            exported = tmp_path / "audit.jsonl"
            await run_command(node, operator, "audit", "export", "-o", str(exported))
        lines = [json.loads(line) for line in exported.read_text().splitlines()]
        assert [(line["action"], line["status"]) for line in lines] == [
            ("POST /v1/jobs", 201),
            ("POST /v1/webhooks", 201),
        ]
        assert lines[0]["objects"] == {"job_id": job["job_id"]}
        assert lines[1]["objects"] == {"webhook_id": webhook}
