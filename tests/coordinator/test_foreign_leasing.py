import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from nacl.public import SealedBox

from ledger.entries import AttemptOutcome, JobStatus
from ledger.faults import Reason
from ledger.state import get_job, get_miner
from tests.support.coordinators import Cluster, open_cluster
from tests.support.self_custody import BOX_KEY, build_claim, build_completion, register, sign
from tests.support.world import Reply


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path) as opened:
        yield opened


def get_id(job: dict[str, Any]) -> bytes:
    return bytes.fromhex(job["job_id"][4:])


async def claim_signed(cluster: Cluster, job: dict[str, Any]) -> Reply:
    claim = sign(cluster.local, "digger", build_claim(cluster.local, job["job_id"]))
    body = {"miner_id": "miner_digger", "transaction": claim}
    return await cluster.local.call("POST", f"/v1/jobs/{job['job_id']}/claim", "digger", body)


def open_content(claimed: dict[str, Any]) -> dict[str, Any]:
    box = SealedBox(BOX_KEY)
    pieces = [box.decrypt(base64.b64decode(piece)) for piece in claimed["content_sealed"]]
    content: dict[str, Any] = json.loads(b"".join(pieces))
    return content


async def test_a_miner_that_signs_does_a_job_of_another_coordinator(cluster: Cluster) -> None:
    home, local = cluster.home, cluster.local
    await register(local)
    job = await home.submit(prompt="a private question")
    offered = await local.call("GET", "/v1/jobs/available?miner_id=miner_digger&wait=5", "digger")
    assert offered.json["job_id"] == job["job_id"]
    assert offered.json["prompt"] is None
    assert offered.json["max_price_base"] == job["max_price_base"]
    reply = await claim_signed(cluster, job)
    assert reply.status == 200, reply
    claimed = reply.json
    assert claimed["content"] is None
    opened = open_content(claimed)
    assert opened["content"]["input"] == {"prompt": "a private question"}
    path = f"/v1/jobs/{job['job_id']}"
    beat = {
        "miner_id": "miner_digger", "progress": 40, "phase": "running", "partial": "so far",
        "report_token": opened["report_token"],
    }  # fmt: skip
    noted = await local.call("POST", path + "/heartbeat", "digger", beat)
    assert (noted.status, noted.json["cancel_requested"]) == (200, False), noted
    shown = (await home.call("GET", path, "client")).json
    assert (shown["progress"], shown["phase"]) == (40, "running")
    result = {"text": "a private answer"}
    body = await build_completion(local, {**claimed, **opened}, result, 12)
    done = await local.call("POST", path + "/complete", "digger", body)
    assert done.status == 200, done
    final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"] == result
    assert final["settlement"]["paid_base"] == str(12_000)
    receipt = (await home.call("GET", path + "/receipt", "client")).json
    assert [a["type"] for a in receipt["attestations"]] == ["completion", "settlement"]
    for data in cluster.relay.asked + cluster.relay.answered:
        assert b"private" not in data


async def test_a_custodial_miner_does_a_job_of_another_coordinator(cluster: Cluster) -> None:
    home, local = cluster.home, cluster.local
    await local.register()
    job = await home.submit(prompt="a private question")
    path = f"/v1/jobs/{job['job_id']}"
    offered = await local.call("GET", "/v1/jobs/available?wait=5", "miner")
    assert offered.json["job_id"] == job["job_id"]
    claimed = await local.claim(job["job_id"])
    assert claimed.status == 200, claimed
    assert claimed.json["content"]["input"] == {"prompt": "a private question"}
    assert claimed.json["terms"]["max_units"] == job["max_units"]
    assert (await local.claim(job["job_id"])).status == 409, "it was delivered"
    beat = {"miner_id": "miner_miner", "progress": 30, "phase": "running"}
    assert (await local.call("POST", path + "/heartbeat", "miner", beat)).status == 200
    assert (await home.call("GET", path, "client")).json["progress"] == 30
    before = local.get_balance("miner")
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    done = await local.call("POST", path + "/complete", "miner", body)
    assert done.status == 200, done
    final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"] == "Hello."
    assert local.get_balance("miner") > before
    again = await local.call("POST", path + "/complete", "miner", body)
    assert (again.status, again.json["status"]) == (200, "final"), again
    assert again.json["signed_payload"] == done.json["signed_payload"]
    other = await local.call("POST", path + "/complete", "miner", {**body, "result": "Bye."})
    assert (other.status, other.json["error_code"]) == (409, "JOB_ALREADY_COMPLETED")
