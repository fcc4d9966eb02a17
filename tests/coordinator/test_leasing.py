import asyncio

from ledger.faults import Reason
from ledger.transactions import JobClaim, JobFail, JobSettle
from tests.support.world import World

BODY = {"miner_id": "miner_miner"}


def list_kinds(world: World, *kinds: type) -> list[str]:
    """Return what of some kinds the blocks hold, in their order."""
    payloads = [each.payload for block in world.chain.blocks for each in block.transactions]
    return [type(payload).__name__ for payload in payloads if isinstance(payload, kinds)]


def give_back(reason: Reason) -> dict[str, object]:
    return {**BODY, "reason_code": int(reason)}


async def test_the_leaseholders_claim_is_answered_again(world: World) -> None:
    await world.register()
    await world.register("rival")
    job = await world.submit()
    first = await world.claim(job["job_id"])
    again = await world.claim(job["job_id"])
    assert (first.status, again.status) == (200, 200)
    assert first.json["content"]["input"] == {"prompt": "Say hello."}
    for member in ("content", "terms"):
        assert again.json[member] == first.json[member]
    assert again.json["lease"]["number"] == first.json["lease"]["number"]
    other = await world.claim(job["job_id"], "rival")
    assert (other.status, other.json["error_code"]) == (409, "JOB_ALREADY_CLAIMED")
    assert list_kinds(world, JobClaim) == ["JobClaim"]


async def test_a_claim_that_is_on_its_way_is_made_once(world: World) -> None:
    await world.register()
    job = await world.submit()
    world.settings = world.settings.model_copy(update={"claim_wait": 0.5})
    await world.restart()
    world.chain.is_automatic = False
    for _ in range(2):
        replies = await asyncio.gather(*(world.claim(job["job_id"]) for _ in range(2)))
        for reply in replies:
            assert (reply.status, reply.json["error_code"]) == (503, "CLAIM_PENDING")
    world.chain.is_automatic = True
    world.chain.produce()
    assert (await world.claim(job["job_id"])).status == 200
    assert list_kinds(world, JobClaim) == ["JobClaim"]


async def test_two_workers_of_one_name_are_not_given_one_job(world: World) -> None:
    """A poll asks for any work: the lease of the other worker's is none."""
    await world.register()
    await world.submit()
    wait = {"max_wait_seconds": 1}
    polls = (world.call("POST", "/v1/miners/poll", "miner", wait) for _ in range(4))
    assert sorted(reply.status for reply in await asyncio.gather(*polls)) == [200, 204, 204, 204]


async def test_a_report_behind_a_settlement_is_refused_and_costs_nothing(world: World) -> None:
    await world.register()
    path = f"/v1/jobs/{(await world.submit())['job_id']}"
    await world.claim(path.rpartition("/")[2])
    world.chain.is_automatic = False
    body = {**BODY, "result": "Hello.", "units": 12}
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200
    refused = await world.call("POST", path + "/fail", "miner", give_back(Reason.ENGINE_FAILED))
    assert (refused.status, refused.json["error_code"]) == (409, "JOB_ALREADY_COMPLETED"), refused
    world.chain.is_automatic = True
    world.chain.produce()
    await world.until(path, "client", lambda job: job["status"] == "completed")
    assert list_kinds(world, JobSettle, JobFail) == ["JobSettle"]


async def test_a_lease_is_given_back_once(world: World) -> None:
    await world.register()
    path = f"/v1/jobs/{(await world.submit())['job_id']}"
    await world.claim(path.rpartition("/")[2])
    world.chain.is_automatic = False
    drained = give_back(Reason.MINER_DRAINED)
    first = await world.call("POST", path + "/fail", "miner", drained)
    again = await world.call("POST", path + "/fail", "miner", drained)
    assert (first.status, again.status) == (200, 200)
    assert again.json["transaction_id"] == first.json["transaction_id"]
    result = {**BODY, "result": "Hello.", "units": 12}
    for route, body in (("/fail", give_back(Reason.ENGINE_FAILED)), ("/complete", result)):
        refused = await world.call("POST", path + route, "miner", body)
        assert (refused.status, refused.json["error_code"]) == (409, "JOB_NOT_LEASED"), refused
    world.chain.is_automatic = True
    world.chain.produce()
    await world.until(path, "client", lambda job: job["phase"] == "queued")
    assert list_kinds(world, JobSettle, JobFail) == ["JobFail"]
