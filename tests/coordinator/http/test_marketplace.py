"""The marketplace's routes, for custodial accounts and those that sign, to the settled price."""

import asyncio
from typing import Any

import pytest

from ledger import codec, terms
from ledger.state import get_job, get_miner, get_offer
from ledger.transactions import JobClaim, OfferAccept, OfferCancel, OfferCreate
from tests.support import self_custody
from tests.support.shapes import find_missing
from tests.support.world import Reply, World, open_world

OFFERS = "/v1/marketplace/offers"
SEED_OFFER = {
    "job_type": "image-classification",
    "price": "0.001",
    "max_jobs": 10,
    "requirements": {"min_gpu_memory": "4Gi", "min_cpu": "2000m"},
    "duration": 3600,
}
SEED_JOB = {
    "name": "image-classification",
    "type": "ai-inference",
    "model": {"type": "python", "entrypoint": "model.py", "requirements": ["numpy", "torch"]},
    "input": {"type": "image", "format": "jpeg"},
    "output": {"type": "json"},
    "resources": {"cpu": "1000m", "memory": "2Gi", "gpu": "1"},
    "pricing": {"max_cost": "4.00"},
}
SEED_STATS = {
    "total_jobs": 10000,
    "active_jobs": 150,
    "completed_jobs": 9800,
    "failed_jobs": 50,
    "average_completion_time": 120.5,
    "total_volume": "1500.50",
    "active_miners": 500,
}


async def make_offer(world: World, who: str = "miner", **members: Any) -> dict[str, Any]:
    body = {"job_type": "llm_inference", "price": "0.00005", "duration": 600, **members}
    reply = await world.call("POST", OFFERS, who, body)
    assert reply.status == 201, reply
    made: dict[str, Any] = reply.json
    assert made["status"] == "active"
    return made


async def accept(world: World, offer: str, job: str, who: str = "client", **members: Any) -> Reply:
    return await world.call("POST", f"{OFFERS}/{offer}/accept", who, {"job_id": job, **members})


def get_entry_job(world: World, job: str) -> Any:
    return get_job(world.chain.get_view(), bytes.fromhex(job[4:]))


async def test_the_first_documents_offer_is_made_listed_and_accepted_for_its_job(
    world: World,
) -> None:
    await world.register(capabilities=["custom_code"], gpu_info={"name": "V100", "memory": "8Gi"})
    reply = await world.call("POST", OFFERS, "miner", SEED_OFFER)
    assert reply.status == 201, reply
    assert (reply.json["status"], reply.json["miner_id"]) == ("active", "miner_miner")
    assert reply.json["offer_id"].startswith("offer_") and reply.json["created_at"].endswith("Z")
    assert reply.json["requirements"] == SEED_OFFER["requirements"]
    listed = await world.call("GET", f"{OFFERS}?job_type=image-classification&max_price=0.001")
    (shown,) = listed.json["offers"]
    assert (shown["price"], shown["job_type"]) == ("0.001", "image-classification")
    assert isinstance(shown["reputation"], float) and listed.json["total"] == 1
    posted = await world.call("POST", "/v1/jobs", "client", SEED_JOB)
    assert posted.status == 201, posted
    accepted = await accept(world, shown["offer_id"], posted.json["job_id"], bid_price="0.001")
    assert accepted.status == 200, accepted
    assert set(accepted.json) >= {"transaction_id", "status", "created_at"}
    located = await world.chain.find_transaction(bytes.fromhex(accepted.json["transaction_id"][3:]))
    assert located is not None and isinstance(located.transaction.payload, OfferAccept)
    other = await world.submit(name="another")
    refused = await accept(world, shown["offer_id"], other["job_id"])
    assert (refused.status, refused.json["error_code"]) == (409, "OFFER_DIFFERS")


async def test_an_accepted_job_is_its_miners_alone_and_settles_at_the_public_price(
    world: World,
) -> None:
    await world.register(prices={"llm_inference": 90_000})
    await world.register("rival")
    offer = await make_offer(world)
    older = await world.submit(prompt="older")
    job = (await world.submit())["job_id"]
    assert (await accept(world, offer["offer_id"], job, bid_price="0.00006")).status == 200
    seen = await world.call("GET", f"/v1/jobs/{job}", "client")
    assert seen.json["accepted_offer"]["price_base"] == "50000"
    offered = await world.call("GET", "/v1/jobs/available", "rival")
    assert offered.json["job_id"] == older["job_id"]
    stolen = await world.claim(job, "rival")
    assert (stolen.status, stolen.json["error_code"]) == (409, "JOB_HAS_OFFER")
    offered = await world.call("GET", "/v1/jobs/available", "miner")
    assert offered.json["job_id"] == job, "before the older one, and below its own price list"
    assert (await world.claim(job)).status == 200
    lease = get_entry_job(world, job).lease
    assert lease.price_commit == terms.commit_public_price(50_000)
    body = {"miner_id": "miner_miner", "result": "hello", "units": 7}
    done = await world.call("POST", f"/v1/jobs/{job}/complete", "miner", body)
    assert done.status == 200, done
    await world.until(f"/v1/jobs/{job}", "client", lambda job: job["status"] == "completed")
    settlement = get_entry_job(world, job).settlement
    paid = settlement.payout + settlement.coordinator_share + settlement.network_share
    assert paid == 7 * 50_000
    miner = get_miner(world.chain.get_view(), "miner_miner")
    assert miner is not None and miner.settled == 1
    stats = await world.call("GET", "/v1/marketplace/stats")
    assert not find_missing(stats.json, SEED_STATS, is_loose=False)
    assert (stats.json["completed_jobs"], stats.json["total_volume"]) == (1, "0.00035")
    assert (stats.json["active_jobs"], stats.json["active_miners"]) == (1, 2)
    shown = await world.call("GET", f"{OFFERS}/{offer['offer_id']}")
    assert shown.json["reputation"] > 2.5 and shown.json["status"] == "used_up"


async def test_a_miner_and_a_client_that_keep_their_keys(world: World) -> None:
    await self_custody.register(world)
    body = {"job_type": "llm_inference", "price": "0.000001", "miner_id": "miner_digger"}
    asked = await world.call("POST", OFFERS, "digger", body)
    assert (asked.status, asked.json["error_code"]) == (422, "SIGNATURE_NEEDED")
    payload = codec.decode(bytes.fromhex(asked.json["payload"]), OfferCreate, 8_192)
    signed = self_custody.sign(world, "digger", payload)
    other = {**body, "price": "0.000002", "transaction": signed}
    assert (await world.call("POST", OFFERS, "digger", other)).status == 422
    made = await world.call("POST", OFFERS, "digger", {**body, "transaction": signed})
    assert made.status == 201, made
    offer = made.json["offer_id"]
    posted = {"prompt": "Say hello.", "params": {"max_tokens": 16}, "max_cost": "0.5"}
    job = (
        await world.call("POST", "/v1/jobs", "holder", await self_custody.sign_job(world, posted))
    ).json["job_id"]
    asked = await accept(world, offer, job, "holder")
    assert asked.json["error_code"] == "SIGNATURE_NEEDED"
    wanted = OfferAccept(bytes.fromhex(job[4:]), bytes.fromhex(offer[6:]))
    assert asked.json["payload"] == codec.encode(wanted).hex()
    wrong = self_custody.sign(world, "holder", OfferAccept(bytes(32), bytes.fromhex(offer[6:])))
    assert (await accept(world, offer, job, "holder", transaction=wrong)).status == 422
    transaction = self_custody.sign(world, "holder", wanted)
    assert (await accept(world, offer, job, "holder", transaction=transaction)).status == 200
    claim = self_custody.build_claim(world, job)
    refused = await world.call(
        "POST", f"/v1/jobs/{job}/claim", "digger",
        {"miner_id": "miner_digger", "transaction": self_custody.sign(world, "digger", claim)},
    )  # fmt: skip
    assert refused.json["error_code"] == "PRICE_NOT_ACCEPTED"
    claim = JobClaim(claim.job, claim.miner, terms.commit_public_price(1_000))
    granted = await world.call(
        "POST", f"/v1/jobs/{job}/claim", "digger",
        {"miner_id": "miner_digger", "transaction": self_custody.sign(world, "digger", claim)},
    )  # fmt: skip
    assert granted.status == 200, granted
    gone = self_custody.sign(world, "digger", OfferCancel(bytes.fromhex(offer[6:])))
    withdrawn = await world.call("DELETE", f"{OFFERS}/{offer}", "digger", {"transaction": gone})
    assert (withdrawn.status, withdrawn.json["status"]) == (200, "cancelled")


async def test_the_last_place_has_one_winner(world: World) -> None:
    await world.register()
    offer = (await make_offer(world, max_jobs=1))["offer_id"]
    jobs = [(who, (await world.submit(who))["job_id"]) for who in ("client", "other") * 3]
    replies = await asyncio.gather(*(accept(world, offer, job, who) for who, job in jobs))
    assert sorted(reply.status for reply in replies) == [200, *[410] * 5], replies
    codes = {reply.json["error_code"] for reply in replies if reply.status == 410}
    assert codes == {"OFFER_NOT_AVAILABLE"}
    entry = get_offer(world.chain.get_view(), bytes.fromhex(offer[6:]))
    assert entry is not None and entry.accepted == 1
    assert (await world.call("GET", OFFERS)).json["offers"] == []


async def test_an_offer_that_is_over_is_gone(world: World) -> None:
    await world.register()
    await world.register("rival")
    job = (await world.submit(timeout_seconds=86_400))["job_id"]
    short = (await make_offer(world, duration=100))["offer_id"]
    taken_back = (await make_offer(world))["offer_id"]
    assert (await world.call("DELETE", f"{OFFERS}/{taken_back}", "rival")).status == 404
    for _ in range(2):
        reply = await world.call("DELETE", f"{OFFERS}/{taken_back}", "miner")
        assert (reply.status, reply.json["status"]) == (200, "cancelled")
    world.pass_time(90)
    assert [each["offer_id"] for each in (await world.call("GET", OFFERS)).json["offers"]] == [
        short
    ]
    world.pass_time(60)
    assert (await world.call("GET", OFFERS)).json["offers"] == []
    for offer, status in ((short, "expired"), (taken_back, "cancelled")):
        refused = await accept(world, offer, job)
        assert (refused.status, refused.json["error_code"]) == (410, "OFFER_NOT_AVAILABLE")
        assert (await world.call("GET", f"{OFFERS}/{offer}")).json["status"] == status
    unknown = "offer_" + "0" * 64
    for reply in (
        await accept(world, unknown, job),
        await world.call("GET", f"{OFFERS}/{unknown}"),
        await world.call("DELETE", f"{OFFERS}/{unknown}", "miner"),
    ):
        assert (reply.status, reply.json["error_code"]) == (404, "OFFER_NOT_FOUND")


async def test_what_an_acceptance_is_refused_for(world: World) -> None:
    await world.register()
    offer = (await make_offer(world, max_jobs=9))["offer_id"]
    job = (await world.submit())["job_id"]
    low = await accept(world, offer, job, bid_price="0.00004")
    assert (low.status, low.json["error_code"], low.json["price"]) == (
        409, "BID_TOO_LOW", "0.00005",
    )  # fmt: skip
    assert (await accept(world, offer, job, "other")).json["error_code"] == "JOB_NOT_FOUND"
    assert (await accept(world, offer, "job_1")).status == 404
    cheap = (await world.submit(max_cost="0.0001"))["job_id"]
    dear = await accept(world, offer, cheap)
    assert (dear.status, dear.json["error_code"]) == (409, "PRICE_OVER_JOB_MAXIMUM")
    assert (await accept(world, offer, job, bid_price=1)).status == 422
    assert (await accept(world, offer, job)).status == 200
    again = await accept(world, offer, job)
    assert (again.status, again.json["error_code"]) == (409, "JOB_HAS_OFFER")
    claimed = (await world.submit(prompt="x"))["job_id"]
    assert (await world.claim(claimed)).status == 200
    late = await accept(world, offer, claimed)
    assert (late.status, late.json["error_code"]) == (409, "JOB_ALREADY_CLAIMED")
    whisper = (await make_offer(world, job_type="whisper_transcription"))["offer_id"]
    other = (await world.submit(prompt="y"))["job_id"]
    assert (await accept(world, whisper, other)).json["error_code"] == "OFFER_DIFFERS"
    for who, status in (("miner", 403), (None, 401)):
        path = f"{OFFERS}/{offer}/accept"
        assert (await world.call("POST", path, who, {"job_id": job})).status == status


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"job_type": "ai-inference"}, 400),
        ({"job_type": ""}, 422),
        ({"job_type": "x" * 65}, 422),
        ({"job_type": "\ud800"}, 400),
        ({"price": "0"}, 422),
        ({"price": "-1"}, 422),
        ({"price": 1}, 422),
        ({"max_jobs": 0}, 422),
        ({"max_jobs": 10**7}, 422),
        ({"duration": 0}, 422),
        ({"duration": 10**9}, 422),
        ({"requirements": {"min_gpu_memory": "lots"}}, 422),
        ({"requirements": {"min_cpu": "1e9"}}, 422),
        ({"requirements": {"more": "x" * 5_000}}, 422),
        ({"requirements": {"more": 2**70}}, 422),
        ({"requirements": {"more": [[]] * 64}}, 422),
        ({"miner_id": "miner_rival"}, 404),
    ],
)
async def test_an_offer_that_is_refused(world: World, members: dict[str, Any], status: int) -> None:
    await world.register()
    body = {"job_type": "llm_inference", "price": "0.1", **members}
    reply = await world.call("POST", OFFERS, "miner", body)
    assert reply.status == status, reply


@pytest.mark.parametrize(
    "value", [b"[" * 300 + b"]" * 300, b"[" * 1_900 + b"]" * 1_900, b"NaN", b"9" * 4_000, b"1e999"]
)
async def test_no_signed_metadata_keeps_others_from_the_list(world: World, value: bytes) -> None:
    await self_custody.register(world)
    payload = OfferCreate(
        idempotency_tag=bytes(32), miner="miner_digger", service="text_embedding", billing=0,
        price=1_000, max_jobs=1, metadata=b'{"job_type":"llm_inference","requirements":{"a":'
        + value + b"}}", expires_at=world.clock.read() + 600_000,
    )  # fmt: skip
    body = {"job_type": "text_embedding", "price": "0.000001", "miner_id": "miner_digger"}
    signed = self_custody.sign(world, "digger", payload)
    made = await world.call("POST", OFFERS, "digger", {**body, "transaction": signed})
    assert (made.status, made.json["job_type"]) == (201, "text_embedding")
    assert (await world.call("GET", OFFERS)).json["total"] == 1
    assert (await world.call("GET", f"{OFFERS}/{made.json['offer_id']}")).status == 200
    assert (await world.call("GET", f"{OFFERS}?job_type=llm_inference")).json["total"] == 0


async def test_an_account_with_two_miners_names_one(world: World) -> None:
    await world.register()
    await world.register("miner", "second")
    body = {"job_type": "llm_inference", "price": "0.1"}
    assert (await world.call("POST", OFFERS, "miner", body)).status == 422
    made = await world.call("POST", OFFERS, "miner", {**body, "miner_id": "second"})
    assert made.json["miner_id"] == "second"


async def test_the_same_key_makes_one_offer(world: World) -> None:
    await world.register()
    body = {"job_type": "llm_inference", "price": "0.1"}
    headers = {"Idempotency-Key": "once"}
    replies = [await world.call("POST", OFFERS, "miner", body, headers) for _ in range(2)]
    assert replies[0].json["offer_id"] == replies[1].json["offer_id"]
    assert (await world.call("GET", OFFERS)).json["total"] == 1
    changed = await world.call("POST", OFFERS, "miner", {**body, "price": "0.2"}, headers)
    assert changed.status == 422


async def test_offers_are_listed_by_page_and_chosen_by_type_and_price(world: World) -> None:
    await world.register()
    made = [
        (await make_offer(world, price=f"0.000{number}", max_jobs=2))["offer_id"]
        for number in range(1, 8)
    ]
    await make_offer(world, job_type="text_embedding", price="0.0001")
    first = (await world.call("GET", f"{OFFERS}?job_type=llm_inference&limit=3")).json
    assert [each["offer_id"] for each in first["offers"]] == made[:3:-1]
    assert (first["total"], first["has_more"]) == (7, True)
    cursor, seen = first["next_cursor"], [each["offer_id"] for each in first["offers"]]
    while cursor:
        path = f"{OFFERS}?job_type=llm_inference&limit=3&cursor={cursor}"
        page = (await world.call("GET", path)).json
        seen += [each["offer_id"] for each in page["offers"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    cheap = (await world.call("GET", f"{OFFERS}?max_price=0.0002")).json
    assert cheap["total"] == 3
    assert (await world.call("GET", f"{OFFERS}?format=array&offset=7")).json[0]["offer_id"] == (
        made[0]
    )
    for query in ("max_price=x", "max_price=1e3", "limit=0", "cursor=a"):
        assert (await world.call("GET", f"{OFFERS}?{query}")).status == 422, query


async def test_a_restart_finds_the_offers_again(world: World) -> None:
    await world.register()
    offer = (await make_offer(world))["offer_id"]
    await world.restart()
    listed = (await world.call("GET", OFFERS)).json["offers"]
    assert [each["offer_id"] for each in listed] == [offer]


async def test_without_blocks_the_answers_say_pending(tmp_path: Any) -> None:
    async with open_world(tmp_path) as world:
        await world.register()
        offer = (await make_offer(world, max_jobs=5))["offer_id"]
        job = (await world.submit())["job_id"]
        world.chain.is_automatic = False
        waiting = await world.call(
            "POST", OFFERS, "miner", {"job_type": "llm_inference", "price": "0.1"}
        )
        assert (waiting.status, waiting.json["status"]) == (201, "pending")
        path = f"{OFFERS}/{waiting.json['offer_id']}"
        assert (await world.call("GET", path)).status == 404
        accepted = await accept(world, offer, job)
        assert accepted.json["status"] == "pending"
        world.chain.produce()
        await world.until(path, "miner", lambda offer: offer["status"] == "active")
