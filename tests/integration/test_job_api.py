"""A custodial client and miner on a true node: submitted, claimed, proved, settled, verified."""

import asyncio
import json
import time
from pathlib import Path

from aitbc.cli.receipt_report import describe_audited
from genesis.checkpoint import start_from_genesis
from genesis.document import dump_genesis
from node import folder
from tests.support.custody import enrol, post, until
from tests.support.node import NODE, build_genesis, reopened_node


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
