"""A whole miner at one coordinator, with jobs that another coordinator holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from coordinator.relay_messages import Fetch, HandIn, Refusal, Refused, decode_question
from ledger import codec
from ledger.faults import Reason
from ledger.state import get_job, get_miner
from ledger.terms import commit_public_price
from ledger.transactions import OfferCreate
from miner.settings import MinerSettings
from tests.support import self_custody
from tests.support.coordinators import Cluster, list_attempts, open_cluster
from tests.support.miner_bench import mine, until
from tests.support.text_endpoint import TextEndpoint

NAME = "miner_digger"


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path) as opened:
        yield opened


def make_settings(
    cluster: Cluster, endpoint: TextEndpoint, folder: Path, **changed: Any
) -> MinerSettings:
    digger = cluster.local.people["digger"]
    key_file = folder / "miner.seed"
    key_file.write_text(digger.seed.hex() + "\n")
    key_file.chmod(0o600)
    given = {
        "miner_id": NAME,
        "api_urls": [cluster.local.url],
        "api_key": digger.key,
        "key_file": key_file,
        "data_folder": folder / "data",
        "text_endpoint": endpoint.url,
        "text_endpoint_model": "served",
        "poll_seconds": 5,
        "drain_seconds": 3.0,
        **changed,
    }
    return MinerSettings(**given)


async def test_a_job_of_another_coordinator_is_run_and_settled(
    cluster: Cluster, tmp_path: Path
) -> None:
    endpoint, home = TextEndpoint(delay=0.02), cluster.home
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit(prompt="a private question", params={"max_tokens": 6})
        path = f"/v1/jobs/{job['job_id']}"
        final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"]["text"] == "word " * 6
    assert final["miner_id"] == NAME
    assert list_attempts(cluster, job) == [("SETTLED", 0)]
    for data in cluster.relay.asked + cluster.relay.answered:
        assert b"private" not in data
        assert b"word" not in data


async def test_a_job_that_accepted_our_offer_is_settled_at_its_price(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Below the miner's own price list: what it offered in public is what it takes."""
    endpoint, home, local = TextEndpoint(), cluster.home, cluster.local
    await self_custody.register(local, NAME)
    offer: dict[str, Any] = {"job_type": "llm_inference", "price": "0.000000007"}
    asked = await local.call("POST", "/v1/marketplace/offers", "digger", offer)
    payload = codec.decode(bytes.fromhex(asked.json["payload"]), OfferCreate, 8_192)
    offer["transaction"] = self_custody.sign(local, "digger", payload)
    made = await local.call("POST", "/v1/marketplace/offers", "digger", offer)
    job = await home.submit(params={"max_tokens": 6})
    path = f"/v1/marketplace/offers/{made.json['offer_id']}/accept"
    accepted = await home.call("POST", path, "client", {"job_id": job["job_id"]})
    assert accepted.status == 200, accepted
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        path = f"/v1/jobs/{job['job_id']}"
        await home.until(path, "client", lambda j: j["status"] == "completed")
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None and entry.settlement is not None and entry.lease is not None
    assert entry.lease.price_commit == commit_public_price(7)
    paid = entry.escrow - entry.settlement.refund
    assert paid > 0 and paid % 7 == 0
    receipt = (await home.call("GET", f"/v1/jobs/{job['job_id']}/receipt", "client")).json
    assert (receipt["price"], receipt["units"], receipt["amount"]) == (7, paid // 7, paid)


async def test_a_cancellation_reaches_the_miner(cluster: Cluster, tmp_path: Path) -> None:
    endpoint, home = TextEndpoint(delay=0.05), cluster.home
    cluster.local.settings = cluster.local.settings.model_copy(update={"heartbeat_seconds": 1})
    await cluster.local.restart()
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit(params={"max_tokens": 1_000})
        path = f"/v1/jobs/{job['job_id']}"
        await home.until(path, "client", lambda j: j["progress"] > 0)
        assert (await home.call("DELETE", path, "client")).status == 200
        final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"]["finish_reason"] == "cancelled"


async def test_a_lease_without_content_goes_back_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """The other coordinator dies between the claim and the content."""
    endpoint, home = TextEndpoint(), cluster.home

    def lose_content(question: bytes) -> None:
        if isinstance(decode_question(question), Fetch) and not cluster.relay.is_cut:
            cluster.relay.is_cut = True
            cluster.chain.clock.advance(3)

    cluster.relay.watch = lose_content
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit(timeout_seconds=8)
        await until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.CONTENT_UNAVAILABLE)]
    miner = get_miner(cluster.chain.get_view(), NAME)
    assert miner is not None
    assert miner.bond == cluster.chain.parameters.minimum_bond
    assert endpoint.asked == 0


async def test_a_result_that_nobody_takes_costs_no_bond(cluster: Cluster, tmp_path: Path) -> None:
    """The other coordinator dies before the result is handed in, and stays away."""
    endpoint, home = TextEndpoint(), cluster.home

    def lose_result(question: bytes) -> None:
        if isinstance(decode_question(question), HandIn):
            cluster.relay.is_cut = True

    cluster.relay.watch = lose_result
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit(timeout_seconds=12)
        await until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.CONTENT_UNAVAILABLE)]
    assert endpoint.asked == 1


async def test_a_result_waits_for_its_coordinator(cluster: Cluster, tmp_path: Path) -> None:
    endpoint, home = TextEndpoint(), cluster.home

    def lose_result(question: bytes) -> None:
        if isinstance(decode_question(question), HandIn):
            cluster.relay.is_cut = True

    cluster.relay.watch = lose_result
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit()
        await until(lambda: cluster.relay.is_cut)
        await home.restart()
        await asyncio.sleep(1)
        assert list_attempts(cluster, job) == []
        cluster.relay.watch = bytes
        cluster.relay.is_cut = False
        path = f"/v1/jobs/{job['job_id']}"
        await home.until(path, "client", lambda j: j["status"] == "completed")
    assert list_attempts(cluster, job) == [("SETTLED", 0)]
    assert endpoint.asked == 1


async def test_a_coordinator_that_refuses_every_result_makes_no_lease_lapse(
    cluster: Cluster, tmp_path: Path
) -> None:
    endpoint, home, relay = TextEndpoint(), cluster.home, cluster.relay

    def refuse(answer: bytes) -> bytes:
        is_result = isinstance(decode_question(relay.asked[-1]), HandIn)
        refused = codec.encode(Refused(Refusal.RESULT_REFUSED, "/receipt: no"))
        return refused if is_result else answer

    relay.change = refuse
    async with endpoint.serve(), mine(make_settings(cluster, endpoint, tmp_path)):
        job = await home.submit()
        await until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.CONTENT_UNAVAILABLE)]
