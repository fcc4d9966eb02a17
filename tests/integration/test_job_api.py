"""A custodial client and miner on a true node: submitted, claimed, proved, settled, verified."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aitbc.cli.receipt_report import describe_audited
from coordinator import accounts
from coordinator.principals import Role
from genesis.checkpoint import start_from_genesis
from genesis.document import dump_genesis
from node import folder
from node.database import Database
from node.folder import TABLES, find_database_key
from node.server import derive_sealing_key
from node.settings import load_settings
from tests.support.node import CLIENT, MINER, NODE, RunningNode, build_genesis, reopened_node

Keys = dict[str, dict[str, str]]


def enrol(data: Path) -> Keys:
    """Give client and miner custodial accounts and keys, before the node runs."""
    settings = load_settings(data=data)
    database = Database.open(
        settings.get_database_path(), find_database_key(settings), tables=TABLES, is_dev=True
    )
    keys = {}
    for name, wallet, role in (("client", CLIENT, Role.CLIENT), ("miner", MINER, Role.MINER)):

        def work(connection: Any, seed: bytes = wallet.seed, role: Role = role) -> str:
            sealing_key = derive_sealing_key(NODE.seed)
            account = accounts.import_account(connection, seed, sealing_key, 0)
            return accounts.create_key(connection, NODE.address, account, role, "", 0).key

        keys[name] = {"X-Api-Key": database.write_now(work)}
    database.close_now()
    return keys


async def until(
    node: RunningNode, path: str, headers: dict[str, str], holds: Callable[[Any], bool]
) -> Any:
    async with asyncio.timeout(20):
        while True:
            reply = await node.get(path, headers=headers)
            if reply.status == 200 and holds(reply.body):
                return reply.body
            await asyncio.sleep(0.02)


async def post(node: RunningNode, path: str, headers: dict[str, str], body: Any) -> Any:
    async with node.session.post(node.url + path, json=body, headers=headers) as response:
        answer = await response.json(content_type=None)
        assert response.status < 300, answer
        return answer


async def test_a_job_on_a_true_node(tmp_path: Path) -> None:
    genesis = build_genesis()
    await asyncio.to_thread(folder.create_folder, tmp_path / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, tmp_path / "n")
    client, miner = keys["client"], keys["miner"]
    async with reopened_node(tmp_path / "n", genesis) as node:
        registration = {"miner_id": "m", "capabilities": ["llm_inference"]}
        await post(node, "/v1/miners/register", miner, registration)
        await until(node, "/v1/miners/m", miner, lambda m: m["status"] == "active")
        started = time.monotonic()
        job = await post(node, "/v1/jobs", client, {"prompt": "Hi", "max_cost": "0.5"})
        assert time.monotonic() - started < 2
        path = f"/v1/jobs/{job['job_id']}"
        waiting = "/v1/jobs/available?miner_id=m&wait=10"
        assert (await node.get(waiting, headers=miner)).body["job_id"] == job["job_id"]
        lease = await post(node, path + "/claim", miner, {"miner_id": "m"})
        assert lease["content"]["input"] == {"prompt": "Hi"}
        await post(node, path + "/complete", miner, {"miner_id": "m", "result": "Ho", "units": 3})
        final = await until(node, path, client, lambda j: j["status"] == "completed")
        assert final["result"] == "Ho"
        receipt = (await node.get(f"/v1/receipts/{job['job_id']}", headers=client)).body
        verdict = await post(node, "/v1/receipts/verify", {}, {"receipt": receipt})
        assert verdict["valid"] is True
        bundle = await node.get(f"/v1/receipts/{job['job_id']}", headers=client, bundle=1)
        opening = await node.get(f"/v1/receipts/{job['job_id']}/opening", headers=client)
        audited = describe_audited(
            json.dumps(opening.body).encode(),
            json.dumps(bundle.body).encode(),
            start_from_genesis(genesis),
        )
        assert (audited["units"], audited["amount_base"]) == (3, receipt["amount_base"])
        supply = await node.read("/v1/audit/supply")
        assert supply["balanced"] is True
