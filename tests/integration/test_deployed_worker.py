"""The older network's own tools, as they are: a polling worker earns here, a verifier says yes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rfc8785

from genesis.document import dump_genesis
from ledger.receipts import encode_core, parse_receipt
from node import folder
from tests.support import independent_receipt
from tests.support.custody import Keys, enrol, post, until
from tests.support.deployed_worker import DeployedWorker
from tests.support.node import (
    MINER,
    NODE,
    RunningNode,
    build_genesis,
    get_text_address,
    reopened_node,
)

NAME = "gpu-host.1"
MODEL = "llama3.2:latest"
PROMPT = {"prompt": "Explain quantum computing", "model": MODEL, "max_cost": "0.5"}


class Scene(NamedTuple):
    node: RunningNode
    keys: Keys
    worker: DeployedWorker


def run_text(model: str, prompt: str) -> str:
    assert (model, prompt) == (MODEL, PROMPT["prompt"])
    return "A qubit is zero and one – until somebody looks."


@asynccontextmanager
async def open_scene(place: Path) -> AsyncIterator[Scene]:
    genesis = build_genesis()
    await asyncio.to_thread(folder.create_folder, place / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, place / "n")
    async with reopened_node(place / "n", genesis) as node:
        worker = DeployedWorker(node.url, keys["miner"]["X-Api-Key"], NAME, run_text)
        yield Scene(node, keys, worker)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        registered = await asyncio.to_thread(opened.worker.register, [MODEL])
        assert registered.status == 201, registered
        assert registered.body["session_token"]
        key = opened.keys["miner"]
        await until(opened.node, f"/v1/miners/{NAME}", key, lambda m: m["status"] == "active")
        yield opened


async def settle(scene: Scene) -> dict[str, Any]:
    """Have the worker run one job, and return the job once it is settled and final."""
    node, keys, worker = scene
    job = await post(node, "/v1/jobs", keys["client"], PROMPT)
    polled = await asyncio.to_thread(worker.poll)
    assert polled is not None and polled["job_id"] == job["job_id"]
    handed_in = await asyncio.to_thread(worker.work, polled)
    assert handed_in.status == 200, handed_in
    path = f"/v1/jobs/{job['job_id']}"
    settled: dict[str, Any] = await until(
        node, path, keys["client"], lambda j: j["status"] == "completed"
    )
    return settled


async def read_balance(node: RunningNode) -> int:
    account = await node.read(f"/v1/accounts/{get_text_address(MINER)}")
    return int(account["balance_base"])


async def test_a_worker_of_the_older_network_earns_on_this_chain(scene: Scene) -> None:
    node, keys, worker = scene
    again = await asyncio.to_thread(worker.register, [MODEL])
    assert (again.status, again.body["status"]) == (200, "active")
    beaten = await asyncio.to_thread(worker.beat)
    assert (beaten.status, beaten.body["miner_id"]) == (200, NAME)
    assert await asyncio.to_thread(worker.poll, 0) is None
    before = await read_balance(node)

    job = await settle(scene)
    answer = run_text(MODEL, PROMPT["prompt"])
    assert (job["result"]["output"], job["result"]["text"]) == (answer, answer)
    assert job["miner_id"] == NAME

    page = (await node.get(f"/v1/miners/{NAME}/earnings", headers=keys["miner"])).body
    (earning,) = page["earnings"]
    assert int(earning["earned_base"]) > 0
    assert page["total_earned_base"] == earning["earned_base"]
    receipt_id = job["job_id"].replace("job_", "receipt_")
    assert (earning["job_id"], earning["receipt_id"]) == (job["job_id"], receipt_id)
    assert (earning["transaction_id"], earning["height"]) == (
        job["settlement"]["tx"],
        job["settlement"]["height"],
    )

    final = await node.read(f"/v1/transactions/{earning['transaction_id']}")
    assert (final["status"], final["outcome"]) == ("final", "applied")
    shown = await node.read(f"/explorer/receipts/{receipt_id}")
    assert (shown["miner_id"], shown["provider"]) == (NAME, get_text_address(MINER))
    assert shown["payout_base"] == earning["earned_base"]
    assert (shown["transaction_id"], shown["height"]) == (
        earning["transaction_id"],
        earning["height"],
    )
    listed = await node.read("/explorer/receipts")
    assert [each["receipt_id"] for each in listed] == [receipt_id]
    stats = (await node.get(f"/v1/miners/{NAME}/stats", headers=keys["client"])).body
    assert (stats["total_jobs"], stats["success_rate"]) == (1, 1.0)
    assert stats["total_earned_base"] == earning["earned_base"]
    # What it earned is there, less the fees of its claim and its settlement.
    fees = before + int(earning["earned_base"]) - await read_balance(node)
    assert 0 < fees < 10**6
    assert (await node.read("/v1/audit/supply"))["balanced"] is True


async def test_workers_that_share_a_key_earn_each_for_itself(scene: Scene) -> None:
    node, keys, worker = scene
    other = DeployedWorker(node.url, keys["miner"]["X-Api-Key"], "gpu-host.2", run_text)
    assert (await asyncio.to_thread(other.register, [MODEL])).status == 201
    path = "/v1/miners/gpu-host.2"
    await until(node, path, keys["miner"], lambda miner: miner["status"] == "active")
    jobs = [await post(node, "/v1/jobs", keys["client"], PROMPT) for _ in range(2)]

    def work(each: DeployedWorker) -> str:
        polled = each.poll()
        assert polled is not None
        assert each.work(polled).status == 200
        taken: str = polled["job_id"]
        return taken

    taken = await asyncio.gather(*(asyncio.to_thread(work, each) for each in (worker, other)))
    assert sorted(taken) == sorted(job["job_id"] for job in jobs)
    for name, job_id in zip((NAME, "gpu-host.2"), taken, strict=True):
        job = await until(
            node, f"/v1/jobs/{job_id}", keys["client"], lambda job: job["status"] == "completed"
        )
        assert job["miner_id"] == name
        page = (await node.get(f"/v1/miners/{name}/earnings", headers=keys["miner"])).body
        assert [each["job_id"] for each in page["earnings"]] == [job_id]


async def test_what_such_a_worker_cannot_do_goes_back_to_the_queue(scene: Scene) -> None:
    node, keys, worker = scene
    wrong = {"model": MODEL, "input": {"messages": [{"role": "user", "content": "Hi"}]}}
    job = await post(node, "/v1/jobs", keys["client"], wrong)
    polled = await asyncio.to_thread(worker.poll)
    assert polled is not None
    failed = await asyncio.to_thread(worker.work, polled)
    assert (failed.status, failed.body["reason_code"]) == (200, 22_002)
    path = f"/v1/jobs/{job['job_id']}"
    back = await until(node, path, keys["client"], lambda j: j["phase"] in ("queued", "done"))
    assert back["settlement"]["paid_base"] == "0"


async def test_refusals_are_documents_to_it_too(scene: Scene) -> None:
    node, keys, worker = scene
    for name, key, status in (
        ("gpu-host.1", "aitbc_nobody", 401),
        ("gpu-host.1", keys["client"]["X-Api-Key"], 403),
        ("somebody-else", keys["miner"]["X-Api-Key"], 404),
        ("No Such Name", keys["miner"]["X-Api-Key"], 422),
    ):
        other = DeployedWorker(node.url, key, name, run_text)
        refused = await asyncio.to_thread(other.beat)
        assert (refused.status, refused.body["status"]) == (status, status)
        assert refused.body["error_code"] and refused.body["detail"]
    gone = await asyncio.to_thread(worker.send, "/job_1/result", {"result": {"output": "x"}})
    assert (gone.status, gone.body["error_code"]) == (404, "JOB_NOT_FOUND")


async def test_an_independent_verifier_accepts_the_receipt(scene: Scene) -> None:
    node, keys, _ = scene
    job = await settle(scene)
    path = f"/v1/jobs/{job['job_id']}"
    receipt = (await node.get(f"{path}/receipt", headers=keys["client"])).body
    assert independent_receipt.is_valid(receipt)
    (item,) = (await node.get(f"{path}/receipts", headers=keys["client"])).body["items"]
    assert item == receipt

    plain = independent_receipt.canonicalize(receipt)
    core, signer = parse_receipt(receipt)
    members = {key: receipt[key] for key in receipt if key not in ("signature", "attestations")}
    union = (await node.get(f"/v1/receipts/{job['job_id']}", headers=keys["client"])).body
    assert plain == rfc8785.dumps(members) == encode_core(core) == union["signed_payload"].encode()
    assert None not in members.values()
    assert independent_receipt.decode(receipt["signature"]["key_id"]) == signer == MINER.public_key
    # By the text alone, for whoever holds only the union.
    said = {**json.loads(union["signed_payload"]), "signature": union["signature"]}
    assert independent_receipt.is_valid(said)

    assert not independent_receipt.is_valid({**receipt, "units": receipt["units"] + 1})
    forged = {**receipt["signature"], "key_id": receipt["attestations"][0]["key_id"]}
    assert not independent_receipt.is_valid({**receipt, "signature": forged})
    for name in sorted(members):
        without = {key: value for key, value in receipt.items() if key != name}
        assert not independent_receipt.is_valid(without), name


async def test_no_name_makes_the_bytes_differ(scene: Scene) -> None:
    node, keys, _ = scene
    for model in ("modèle", "m\n", "模型"):
        for body in (
            {"prompt": "Hi", "model": model},
            {"prompt": "Hi", "model": {"name": model}},
            {"type": "ai-inference", "model": {"type": "python", "entrypoint": model}, "input": {}},
        ):
            async with node.session.post(
                f"{node.url}/v1/jobs", json=body, headers=keys["client"]
            ) as reply:
                assert reply.status == 422, await reply.text()
                assert (await reply.json())["errors"][0]["pointer"].startswith("/model")
