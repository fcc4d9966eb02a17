"""A job that an accepted offer keeps: who is offered it where, and who when it lapses."""

import asyncio

from coordinator import acceptances
from ledger.offers import ACCEPTANCE_WINDOW
from ledger.state import get_job
from tests.support.coordinators import Cluster
from tests.support.world import World

OFFERS = "/v1/marketplace/offers"


async def make_offer(world: World, who: str = "miner") -> str:
    body = {"job_type": "llm_inference", "price": "0.00005"}
    reply = await world.call("POST", OFFERS, who, body)
    assert reply.status == 201, reply
    offer: str = reply.json["offer_id"]
    return offer


async def accept(world: World, offer: str, job: str) -> None:
    reply = await world.call("POST", f"{OFFERS}/{offer}/accept", "client", {"job_id": job})
    assert reply.status == 200, reply


async def test_a_miner_that_waits_hears_of_its_acceptance_at_another_coordinator(
    cluster: Cluster,
) -> None:
    home, local = cluster.home, cluster.local
    await local.register()
    await local.register("rival")
    offer = await make_offer(local)
    job = (await home.submit())["job_id"]
    await accept(home, offer, job)
    await local.coordinator.wait_followed()
    waiting = asyncio.create_task(
        local.call("GET", "/v1/jobs/available?miner_id=miner_miner&wait=10", "miner")
    )
    assert (await local.call("GET", "/v1/jobs/available", "rival")).json is None
    offered = (await waiting).json
    assert (offered["job_id"], offered["accepted_offer"]["price_base"]) == (job, "50000")
    assert (await local.claim(job)).status == 200
    body = {"miner_id": "miner_miner", "result": "x", "units": 3}
    done = await local.call("POST", f"/v1/jobs/{job}/complete", "miner", body)
    assert done.status == 200, done
    await home.until(f"/v1/jobs/{job}", "client", lambda job: job["status"] == "completed")
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job[4:]))
    assert entry is not None and entry.settlement is not None
    assert entry.escrow - entry.settlement.refund == 3 * 50_000


async def test_a_lapsed_acceptance_frees_the_job(world: World) -> None:
    await world.register()
    await world.register("rival")
    offer = await make_offer(world)
    job = (await world.submit(timeout_seconds=3_600))["job_id"]
    await accept(world, offer, job)
    assert acceptances.list_kept(world.coordinator, "miner_miner") == [bytes.fromhex(job[4:])]
    assert (await world.call("GET", "/v1/jobs/available", "rival")).json is None
    world.pass_time(ACCEPTANCE_WINDOW / 1000 + 1)
    assert (await world.call("GET", "/v1/jobs/available", "rival")).json["job_id"] == job
    assert (await world.claim(job, "rival")).status == 200
    assert (await world.call("GET", "/v1/jobs/available", "miner")).json is None
    assert acceptances.list_kept(world.coordinator, "miner_miner") == []


async def test_after_a_restart_an_accepted_job_is_found_like_any_other(world: World) -> None:
    await world.register(prices={"llm_inference": 10**9})
    offer = await make_offer(world)
    job = (await world.submit())["job_id"]
    await accept(world, offer, job)
    await world.restart()
    assert world.coordinator.accepted == {}
    offered = await world.call("GET", "/v1/jobs/available", "miner")
    assert offered.json["job_id"] == job
    assert (await world.claim(job)).status == 200
