"""A receipt of a chain whose authorities changed: exported by a node, verified with no network."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aitbc.cli.receipt_report import describe_verified
from consensus.light_client import decode_succession
from genesis.checkpoint import Checkpoint, start_from_genesis
from genesis.document import compute_chain_id
from ledger.transactions import AuthorityVote
from node import folder
from node.chain_store import ChainStore
from node.settings import load_settings
from node.verify_chain import verify_chain
from tests.support.cluster import WALLETS, Cluster, running_cluster
from tests.support.custody import enrol, post, until

pytestmark = pytest.mark.slow

HOME = 0
"""The one authority that is there from the start, where the people have their accounts."""


async def change_set(cluster: Cluster, number: int, *voters: int, is_add: bool) -> None:
    """Let a node's key join or leave, and return once the new set is in force."""
    wallet, api = WALLETS[number], cluster.apis[HOME]
    epoch = (await api.read("/v1/chain/validators"))["epoch"]
    for voter in voters:
        vote = AuthorityVote(is_add, wallet.public_key, wallet.address)
        sent = await api.send(WALLETS[voter], vote)
    await cluster.wait_height(sent["height"] + 2, HOME)
    assert (await api.read("/v1/chain/validators"))["epoch"] == epoch + 1


async def settle_job(cluster: Cluster, keys: dict[str, dict[str, str]]) -> str:
    """Take a job of the custodial people to its settlement; return its id."""
    node, client, miner = cluster.apis[HOME], keys["client"], keys["miner"]
    await post(
        node, "/v1/miners/register", miner, {"miner_id": "m", "capabilities": ["llm_inference"]}
    )
    await until(node, "/v1/miners/m", miner, lambda m: m["status"] == "active")
    job = await post(node, "/v1/jobs", client, {"prompt": "Hi", "max_cost": "0.5"})
    path = f"/v1/jobs/{job['job_id']}"
    await node.get("/v1/jobs/available?miner_id=m&wait=10", headers=miner)
    await post(node, path + "/claim", miner, {"miner_id": "m"})
    await post(node, path + "/complete", miner, {"miner_id": "m", "result": "Ho", "units": 3})
    await until(node, path, client, lambda j: j["status"] == "completed")
    return str(job["job_id"])


def list_checkpoints(cluster: Cluster, successions: list[dict[str, Any]]) -> list[Checkpoint]:
    """Return what somebody could trust, by epoch."""
    start = start_from_genesis(cluster.genesis)
    later = [decode_succession(bytes.fromhex(each["succession"])) for each in successions]
    return [start, *(start._replace(authorities=each.following) for each in later)]


def check_store(data: Path) -> None:
    """Check a node's whole chain again, from genesis on, epochs and all."""
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    try:
        store = ChainStore(database, compute_chain_id(genesis))
        try:
            report = verify_chain(store, genesis)
            assert report.settlements == 1
            assert store.get_head().epoch == len(store.read_successions()) == 3
        finally:
            store.close()
    finally:
        database.close_now()


async def test_a_receipt_outlives_the_authorities_that_signed_it(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 1, observers=1, heartbeat_interval=300) as cluster:
        await cluster.stop(HOME)
        keys = await asyncio.to_thread(enrol, cluster.nodes[HOME].data, WALLETS[HOME])
        await cluster.start(HOME)
        await change_set(cluster, 1, HOME, is_add=True)
        job = await settle_job(cluster, keys)
        await change_set(cluster, 1, HOME, 1, is_add=False)
        await change_set(cluster, 1, HOME, is_add=True)
        api = cluster.apis[HOME]
        bundle = await api.get(f"/v1/receipts/{job}", headers=keys["client"], bundle=1)
        document = json.dumps(bundle.body).encode()
        answer = await cluster.apis[1].read("/v1/chain/successions")
        assert [each["epoch"] for each in answer["successions"]] == [1, 2, 3]
        rest = await api.read("/v1/chain/successions", epoch=1, limit=1)
        assert rest["successions"] == answer["successions"][1:2]
        for trusted in list_checkpoints(cluster, answer["successions"])[:2]:
            proven = describe_verified(document, trusted)
            assert (proven["epoch"], proven["authorities"], proven["units"]) == (1, 2, 3)
        height = await cluster.read_height(HOME)
        await cluster.wait_height(height, 1)
    for node in cluster.nodes:
        await asyncio.to_thread(check_store, node.data)
