"""An offer of a miner at one node, accepted by a client at another, claimed and paid exactly."""

import asyncio
from pathlib import Path

from ledger import codec
from ledger.entries import Offer
from tests.integration.test_explorer import check_entry
from tests.integration.test_live_cluster import claim, enrol_at
from tests.support.cluster import running_cluster
from tests.support.custody import post, until
from tests.support.live import open_live

OFFERS = "/v1/marketplace/offers"
PRICE, UNITS = 70_000, 9


async def test_an_offer_at_one_node_is_accepted_at_another_and_paid_exactly(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        client = (await enrol_at(cluster, 0))["client"]
        miner = (await enrol_at(cluster, 1))["miner"]
        home, own, other, last = (cluster.apis[number] for number in range(4))
        registration = {"miner_id": "m", "capabilities": ["llm_inference"]}
        await post(own, "/v1/miners/register", miner, registration)
        await until(own, "/v1/miners/m", miner, lambda m: m["status"] == "active")
        body = {"job_type": "llm_inference", "price": "0.00007", "max_jobs": 1}
        made = await post(own, OFFERS, miner, body)
        offer = made["offer_id"]
        for node in (home, other, last):
            listed = await until(
                node, f"{OFFERS}?job_type=llm_inference", {}, lambda page: page["total"] == 1
            )
            assert (listed["offers"][0]["offer_id"], listed["offers"][0]["miner_id"]) == (
                offer,
                "m",
            )
        job = (await post(home, "/v1/jobs", client, {"prompt": "Hi", "max_cost": "0.5"}))["job_id"]
        async with open_live(cluster.session, home.url + "/ws", client) as watcher:
            await watcher.read_greeting()
            accepted = await post(home, f"{OFFERS}/{offer}/accept", client, {"job_id": job})
            told = await watcher.read("marketplace_update")
            # The state has the offer a moment before the log of what happened.
            if told["data"]["event"] == "created":
                assert told["data"]["offer_id"] == offer
                told = await watcher.read("marketplace_update")
        assert (told["data"]["event"], told["data"]["tx"]) == (
            "accepted",
            accepted["transaction_id"],
        )
        await claim(own, f"/v1/jobs/{job}", miner)
        shown = await until(last, f"/explorer/jobs/{job}", {}, lambda j: j["lease"] is not None)
        assert (shown["acceptance"]["offer_id"], shown["acceptance"]["price_base"]) == (
            offer,
            str(PRICE),
        )
        result = {"miner_id": "m", "result": "Ho", "units": UNITS}
        await post(own, f"/v1/jobs/{job}/complete", miner, result)
        await until(home, f"/v1/jobs/{job}", client, lambda j: j["status"] == "completed")
        receipts = await asyncio.gather(
            *(until(node, f"/explorer/receipts/{job}", {}, bool) for node in cluster.apis.values())
        )
        assert [receipt["amount_base"] for receipt in receipts] == [str(UNITS * PRICE)] * 4
        late = await post(home, "/v1/jobs", client, {"prompt": "Ho", "max_cost": "0.5"})
        refused = await home.session.post(
            f"{home.url}{OFFERS}/{offer}/accept", json={"job_id": late["job_id"]}, headers=client
        )
        assert refused.status == 410
        stats = await last.read("/v1/marketplace/stats")
        assert stats["total_volume_base"] == str(UNITS * PRICE)
        kinds = {each["kind"] for each in await last.read("/explorer/transactions")}
        assert kinds >= {"offer_create", "offer_accept"}
        (hit,) = await last.read("/explorer/search", q=offer)
        found = await last.read(hit["path"])
        assert (hit["type"], found["state"], found["accepted"]) == ("offer", "used_up", 1)
        steps = [each["kind"] for each in found["transactions"]]
        assert steps == ["offer_accept", "offer_create"]
        entry = check_entry(last, found["proof"])
        assert codec.decode(entry, Offer, 8_192).price == PRICE
        listed = await last.read("/v1/explorer/offers")
        assert [each["offer_id"] for each in listed["items"]] == [offer]
