"""Leases under stress: miners as processes of their own at a true node, killed while they work."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Container
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aitbc.cli.devnet.creation import KeyDesk
from aitbc.cli.devnet.ports import find_free_port
from aitbc.client import AsyncAITBCClient
from aitbc.wallet import Wallet
from coordinator.principals import Role
from genesis.document import Genesis, dump_genesis
from ledger import codec, terms
from ledger.faults import Reason
from ledger.terms import Terms
from ledger.transactions import JobSubmit, Transfer
from miner.spool import list_claims
from node import folder
from tests.support.custody import post
from tests.support.miner_bench import until
from tests.support.miner_process import running
from tests.support.node import AIT, CLIENT, MINER, NODE, RunningNode, build_genesis, reopened_node
from tests.support.node_process import node_process
from tests.support.text_endpoint import TextEndpoint

HOLDER = Wallet(bytes([9]) * 32)
"""A client that signs by itself, and so says how long a lease on its job is."""
PATIENCE = 60.0
SHORT_MS = 15_000
"""Of a lease, of which the miner keeps 5 seconds for the proof and a block."""
SALT = bytes([5]) * 32
ENGINE = b"miner.engines.local_server"
PICTURE = {"type": "stable_diffusion", "input": {"prompt": "a red ring on white"}}


class Miners:
    """Miner processes of one account and one API key, each with a folder of its own."""

    def __init__(self, url: str, key: str, endpoint: TextEndpoint, path: Path) -> None:
        self._path = path
        self._choices = {
            "api_urls": json.dumps([url]),
            "api_key": key,
            "text_endpoint": endpoint.url,
            "text_endpoint_model": "served",
            "poll_seconds": 1,
        }

    def start(self, stack: ExitStack, name: str, *kinds: str) -> int:
        """Start a miner, on what it left where it ran before; return its process id."""
        place = self._path / name
        place.mkdir(exist_ok=True)
        chosen = json.dumps(["llm_inference", *kinds])
        process, _ = stack.enter_context(
            running(place, miner_id=name, kinds=chosen, **self._choices)
        )
        return process.pid

    def list_spool(self, name: str) -> list[str]:
        return list_claims(self._path / name / "data" / "spool")


def create(data: Path) -> tuple[Genesis, dict[str, str]]:
    """Make a node's folder; return the keys of client, miner and holder."""
    genesis = build_genesis()
    folder.create_folder(data, dump_genesis(genesis), NODE.seed)
    desk = KeyDesk(data, NODE.seed)
    try:
        return genesis, {
            "client": desk.make_custodial_key(CLIENT.seed, Role.CLIENT),
            "miner": desk.make_key(MINER.address, Role.MINER),
            "holder": desk.make_key(HOLDER.address, Role.CLIENT),
        }
    finally:
        desk.database.close_now()


@asynccontextmanager
async def open_scene(
    path: Path, endpoint: TextEndpoint
) -> AsyncIterator[tuple[RunningNode, dict[str, str], Miners]]:
    genesis, keys = await asyncio.to_thread(create, path / "node")
    async with endpoint.serve(), reopened_node(path / "node", genesis) as node:
        yield node, keys, Miners(node.url, keys["miner"], endpoint, path)


async def submit(node: RunningNode, key: str, prompt: str, tokens: int) -> str:
    body = {"prompt": prompt, "params": {"max_tokens": tokens}, "max_cost": "0.5"}
    return str((await post(node, "/v1/jobs", {"X-Api-Key": key}, body))["job_id"])


async def submit_short(node: RunningNode, key: str, prompt: str) -> str:
    """Post a job of the holder's on which no lease is longer than `SHORT_MS`."""
    body = {"prompt": prompt, "params": {"max_tokens": 400}, "max_cost": "0.5"}
    headers = {"X-Api-Key": key}
    async with node.session.post(f"{node.url}/v1/jobs", json=body, headers=headers) as response:
        asked = await response.json(content_type=None)
    assert asked["error_code"] == "SIGNATURE_NEEDED", asked
    members = {**asked["terms"], "salt": SALT.hex()}
    payload = msgspec.structs.replace(
        codec.decode(bytes.fromhex(asked["payload"]), JobSubmit, 8_192),
        job_commit=terms.commit_terms(terms.read_opening(members, Terms)),
        execution_limit=SHORT_MS,
    )
    signed = {"transaction": node.sign(HOLDER, payload).raw.hex(), "terms": members}
    return str((await post(node, "/v1/jobs", headers, {**body, **signed}))["job_id"])


async def wait_job(node: RunningNode, job_id: str, status: str) -> Any:
    """Return what the explorer says of a job once it stands so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            reply = await node.get(f"/explorer/jobs/{job_id}")
            if reply.status == 200 and reply.body["status"] == status:
                return reply.body
            await asyncio.sleep(0.05)


async def read_counts(node: RunningNode, name: str) -> tuple[int, int, int]:
    """Return how many claims a miner has made, and how many of them settled and lapsed."""
    miner = await node.read(f"/explorer/miners/{name}")
    return miner["claims"], miner["settled"], miner["lapsed"]


async def read_balance(node: RunningNode, wallet: Wallet) -> int:
    return int((await node.read(f"/v1/accounts/{wallet.text_address}"))["balance_base"])


async def kill_engines(parents: Container[int]) -> None:
    """Kill whatever engine runs below some processes, as a poison job would, until cancelled."""
    while True:
        for engine in list_engines(parents):
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
        await asyncio.sleep(0.05)


def list_engines(parents: Container[int]) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((place / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent in parents and ENGINE in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


async def test_three_miners_of_one_key_do_each_job_once_and_a_poison_job_ends(
    tmp_path: Path,
) -> None:
    names, endpoint = ("miner_a", "miner_b", "miner_c"), TextEndpoint(delay=0.04)
    async with open_scene(tmp_path, endpoint) as (node, keys, miners):
        headers = {"X-Api-Key": keys["client"]}
        with ExitStack() as stack:
            parents = {miners.start(stack, name, "stable_diffusion") for name in names}
            jobs = [await submit(node, keys["client"], f"job {each}", 20) for each in range(9)]
            for job in jobs:
                await wait_job(node, job, "settled")
            counts = [await read_counts(node, name) for name in names]
            assert sum(claims for claims, _, _ in counts) == endpoint.asked == 9
            assert sum(settled for _, settled, _ in counts) == 9
            assert min(settled for _, settled, _ in counts) >= 1, counts

            before = await read_balance(node, CLIENT)
            killing = asyncio.create_task(kill_engines(parents))
            poison = str((await post(node, "/v1/jobs", headers, PICTURE))["job_id"])
            failed = await wait_job(node, poison, "failed")
            killing.cancel()
            assert before - await read_balance(node, CLIENT) < 10_000, "the fee alone"
            assert {attempt["miner_id"] for attempt in failed["attempts"]} == set(names)
            reasons = [attempt["reason_code"] for attempt in failed["attempts"]]
            assert reasons == [Reason.ENGINE_FAILED] * 3
            after = str((await post(node, "/v1/jobs", headers, PICTURE))["job_id"])
            await wait_job(node, after, "settled")
            supply = await node.read("/v1/audit/supply")
    assert supply["balanced"]


async def test_a_killed_miner_takes_up_its_job_or_says_why_not_and_another_does_it(
    tmp_path: Path,
) -> None:
    endpoint = TextEndpoint(delay=0.05)
    async with open_scene(tmp_path, endpoint) as (node, keys, miners):
        await node.send(MINER, Transfer(HOLDER.address, 10 * AIT))
        with ExitStack() as stack:
            miners.start(stack, "miner_a")
            first = await submit(node, keys["client"], "taken up", 30)
            await until(lambda: endpoint.running, PATIENCE)
            stack.close()  # kill -9, in the middle of the job
            assert miners.list_spool("miner_a") == [first]
            await until(lambda: not endpoint.running)
            miners.start(stack, "miner_a")
            await wait_job(node, first, "settled")
            assert await read_counts(node, "miner_a") == (1, 1, 0)
            assert endpoint.asked == 2

            late = await submit_short(node, keys["holder"], "does not fit the lease any more")
            await until(lambda: endpoint.running, PATIENCE)
            stack.close()
            await until(lambda: not endpoint.running)
            miners.start(stack, "miner_a")
            given_back = await wait_job(node, late, "queued")
            (attempt,) = given_back["attempts"]
            assert attempt["reason_code"] == Reason.TIME_LIMIT_REACHED

            lost = await submit_short(node, keys["holder"], "another does it")
            await until(lambda: endpoint.running, PATIENCE)
            stack.close()
            await until(lambda: not endpoint.running)
            endpoint.delay = 0.0
            before = await read_balance(node, HOLDER)
            miners.start(stack, "miner_b")
            done = [await wait_job(node, job, "settled") for job in (late, lost)]
            outcomes = [(each["miner_id"], each["reason_code"]) for each in done[1]["attempts"]]
            assert outcomes == [("miner_a", Reason.LEASE_LAPSED), ("miner_b", 0)]
            rest = sum(int(job["settlement"]["refund_base"]) for job in done)
            penalty = node.genesis.parameters.lapse_penalty
            assert await read_balance(node, HOLDER) == before + penalty + rest


@pytest.mark.usefixtures("node_key")
async def test_finished_work_waits_for_a_killed_node_and_is_paid_once(tmp_path: Path) -> None:
    endpoint, port = TextEndpoint(delay=0.05), find_free_port()
    genesis, keys = await asyncio.to_thread(create, tmp_path / "node")
    place = (tmp_path / "node", genesis, tmp_path / "node.log")
    async with endpoint.serve():
        with ExitStack() as stack:
            async with node_process(*place, is_killed=True, port=port) as node:
                miners = Miners(node.url, keys["miner"], endpoint, tmp_path)
                miners.start(stack, "miner_a")
                job = await submit(node, keys["client"], "a private question", 40)
                await until(lambda: endpoint.running, PATIENCE)
            await until(lambda: not endpoint.running, PATIENCE)
            await asyncio.sleep(1)  # with nobody to hand it in to
            assert miners.list_spool("miner_a") == [job]
            async with node_process(*place, port=port) as node:
                settled = await wait_job(node, job, "settled")
                await until(lambda: not miners.list_spool("miner_a"), PATIENCE)
                assert await read_counts(node, "miner_a") == (1, 1, 0)
                async with AsyncAITBCClient(node.url, keys["client"]) as client:
                    result = await client.jobs.get_results(job)
                supply = await node.read("/v1/audit/supply")
    assert endpoint.asked == 1
    assert result["results"]["text"] == "word " * 40
    assert settled["attempts"][-1]["reason_code"] == 0
    assert supply["balanced"]
