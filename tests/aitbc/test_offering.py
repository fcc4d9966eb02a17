"""Offers from both sides at a true node: of accounts that the node keeps, and of own keys."""

from pathlib import Path
from typing import Any

import pytest

from aitbc import errors
from aitbc.client import AsyncAITBCClient
from aitbc.offering import build_offer
from aitbc.wallet import Wallet
from ledger import codec
from ledger.transactions import OfferCreate
from tests.support.clients import HOLDER, served_node
from tests.support.custody import post

WALLET = Wallet(bytes([5]) * 32)
BODY = {"job_type": "llm_inference", "price": "0.001", "max_jobs": 3, "miner_id": "m"}
JOB: dict[str, Any] = {"prompt": "Hi", "params": {"max_tokens": 16}, "max_cost": "0.5"}


async def test_an_offer_is_made_found_accepted_and_withdrawn(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served:
        await served.register_miner()
        async with served.connect("miner") as miner, served.connect("holder") as client:
            offer = await miner.marketplace.create_offer(
                job_type="llm_inference", price="0.001", max_jobs=2, duration=600
            )
            assert (offer.price_base, offer.max_jobs) == ("1000000", 2)
            found = [each async for each in client.marketplace.list_all_offers(max_price="0.01")]
            assert [each.offer_id for each in found] == [offer.offer_id]
            assert (await client.marketplace.get_offer(offer.offer_id)).status == "active"
            job = await client.jobs.create(JOB)
            accepted = await client.marketplace.accept_offer(
                offer.offer_id, job.job_id, bid_price="0.001"
            )
            assert accepted.transaction_id.startswith("tx_")
            again = await client.jobs.create(JOB)
            with pytest.raises(errors.ConflictError):
                await client.marketplace.accept_offer(
                    offer.offer_id, again.job_id, bid_price="0.0001"
                )
            withdrawn = await miner.marketplace.cancel_offer(offer.offer_id)
            assert withdrawn.status == "cancelled"
            with pytest.raises(errors.OfferNotAvailableError):
                await client.marketplace.accept_offer(offer.offer_id, again.job_id)
            await served.complete(job.job_id)
            settled = (await job.wait())["settlement"]
            assert settled["paid_base"] == str(3 * 1_000_000)
            stats = await client.marketplace.get_stats()
            assert (stats.completed_jobs, stats["total_volume"]) == (1, "0.003")


async def test_a_miner_that_keeps_its_key_signs_its_offers(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served:
        await served.node.register_miner(HOLDER, "own")
        body = {"role": "miner", "address": HOLDER.text_address}
        made = await post(served.node, "/v1/api-keys", {"X-Api-Key": served.keys["operator"]}, body)
        members = {"job_type": "llm_inference", "price": "0.001", "miner_id": "own"}
        async with AsyncAITBCClient(served.node.url, made["key"], wallet=HOLDER) as miner:
            offers = [
                await miner.marketplace.create_offer(members, idempotency_key="one")
                for _ in range(2)
            ]
            assert offers[0].offer_id == offers[1].offer_id
            assert offers[0].miner_id == "own"
            assert (await miner.marketplace.list_offers()).total == 1
            withdrawn = await miner.marketplace.cancel_offer(offers[0].offer_id)
            assert withdrawn.status == "cancelled"
        async with AsyncAITBCClient(served.node.url, made["key"]) as keyless:
            with pytest.raises(errors.SignatureNeededError):
                await keyless.marketplace.create_offer(members)


def make_problem(**changes: Any) -> dict[str, Any]:
    members = {
        "idempotency_tag": bytes(32), "miner": "m", "service": "llm_inference", "billing": 0,
        "price": 1_000_000, "max_jobs": 3, "metadata": b"{}", "expires_at": 1_800_000_000_000,
    }  # fmt: skip
    return {"payload": codec.encode(OfferCreate(**{**members, **changes})).hex()}


def test_a_new_offers_identity_is_the_clients_own() -> None:
    first, second = (build_offer(WALLET, make_problem(), BODY, "key") for _ in range(2))
    assert first == second
    assert first.idempotency_tag != bytes(32)
    assert build_offer(WALLET, make_problem(), BODY, "other") != first


@pytest.mark.parametrize(
    "problem",
    [
        make_problem(price=999_999),
        make_problem(max_jobs=4),
        make_problem(miner="n"),
        make_problem(service="text_embedding"),
        {"payload": "00"},
        {},
    ],
)
def test_another_offer_is_not_signed(problem: dict[str, Any]) -> None:
    with pytest.raises(errors.SigningRefusedError):
        build_offer(WALLET, problem, BODY, "key")
