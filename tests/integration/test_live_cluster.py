"""A job at one node that a miner of another one does: its owner hears of it at its own node."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.cluster import WALLETS, Cluster, running_cluster
from tests.support.custody import enrol, post, until
from tests.support.live import LiveClient, Message, open_live


async def enrol_at(cluster: Cluster, number: int) -> dict[str, dict[str, str]]:
    """Give a node custodial accounts; their keys are made while it is down."""
    await cluster.stop(number)
    keys = await asyncio.to_thread(enrol, cluster.nodes[number].data, WALLETS[number])
    await cluster.start(number)
    return keys


async def read_until_receipt(client: LiveClient) -> list[Message]:
    messages = [await client.read("job_update", "receipt_created")]
    while messages[-1]["type"] != "receipt_created":
        messages.append(await client.read("job_update", "receipt_created"))
    return messages


async def test_a_job_is_heard_of_at_its_own_node_whichever_node_its_miner_uses(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        client = (await enrol_at(cluster, 0))["client"]
        miner = (await enrol_at(cluster, 1))["miner"]
        first, second = cluster.apis[0], cluster.apis[1]
        registration = {"miner_id": "m", "capabilities": ["llm_inference"]}
        await post(second, "/v1/miners/register", miner, registration)
        await until(second, "/v1/miners/m", miner, lambda m: m["status"] == "active")
        session = cluster.session
        async with (
            open_live(session, first.url + "/ws", client) as owner,
            open_live(session, second.url + "/ws", miner) as worker,
        ):
            for each in (owner, worker):
                await each.read_greeting()
            body = {"prompt": "Hi", "max_cost": "0.5"}
            job = (await post(first, "/v1/jobs", client, body))["job_id"]
            path = f"/v1/jobs/{job}"
            lease = await claim(second, path, miner)
            assert lease["content"]["input"] == {"prompt": "Hi"}
            beat = {"miner_id": "m", "progress": 40, "phase": "running"}
            await post(second, path + "/heartbeat", miner, beat)
            result = {"miner_id": "m", "result": "Ho", "units": 3}
            await post(second, path + "/complete", miner, result)
            heard = await read_until_receipt(owner)
            told = await read_until_receipt(worker)
        stages = [message["data"].get("phase") for message in heard]
        assert stages[0] == "queued"
        assert stages[1:3] == ["claimed", "running"]
        assert (stages[-2], stages[-1]) == ("done", None)
        assert {message["data"]["job_id"] for message in heard} == {job}
        assert [message["type"] for message in told] == ["receipt_created"]
        assert told[0]["data"] == heard[-1]["data"]


async def claim(node: Any, path: str, miner: dict[str, str]) -> Any:
    """Claim a job as soon as its escrow is final at another node, and known here."""
    waiting = "/v1/jobs/available?miner_id=m&wait=10"
    found = (await node.get(waiting, headers=miner)).body
    assert path.endswith(found["job_id"])
    return await post(node, path + "/claim", miner, {"miner_id": "m"})
