"""A client that keeps its key: at a real coordinator, and asked to sign what it did not ask for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aitbc.errors import SignatureNeededError, SigningRefusedError
from aitbc.signing import build_submission, read_limit
from aitbc.wallet import Wallet
from ledger import codec, terms
from ledger.terms import Terms
from ledger.transactions import JobSubmit
from tests.support.clients import served_node
from tests.support.world import open_world

BODY = {"prompt": "Say hello.", "params": {"max_tokens": 16}, "max_cost": "0.5"}


async def test_a_client_that_keeps_its_key(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served:
        async with served.connect("holder", chain_id=served.node.chain_id.hex()) as client:
            job = await client.jobs.create(BODY)
            async with asyncio.timeout(20):
                while job.phase == "escrowing":
                    job = await job.refresh()
            entry = await served.node.wait_job(bytes.fromhex(job.job_id[4:]), "queued")
            assert int(entry["escrow_base"]) <= 5 * 10**8
            assert (await job.cancel()).status == "cancelled"
            # The same key is the same job, paid once.
            twice = [await client.jobs.create(BODY, idempotency_key="order-7") for _ in range(2)]
            assert len({each.job_id for each in twice}) == 1
            # Several at once take their turns with the nonce.
            jobs = await asyncio.gather(*(client.jobs.create(BODY) for _ in range(3)))
            assert len({each.job_id for each in jobs}) == 3
            assert (await client.jobs.list()).total == 5
            with pytest.raises(SigningRefusedError, match="max_cost"):
                await client.jobs.create(prompt="Say hello.")
        async with served.connect("holder", chain_id="00" * 32) as client:
            with pytest.raises(SigningRefusedError, match="chain"):
                await client.jobs.create(BODY)
        async with served.connect("holder", wallet=None) as client:
            with pytest.raises(SignatureNeededError):
                await client.jobs.create(BODY)
            assert (await client.jobs.list()).total == 5


async def test_what_was_not_asked_for_is_not_signed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        wallet = Wallet(world.people["holder"].seed)
        asked = await world.call("POST", "/v1/jobs", "holder", BODY)
    payload, opening = build_submission(wallet, asked.json, BODY, "key")
    assert terms.commit_terms(opening) == payload.job_commit
    given = codec.decode(bytes.fromhex(asked.json["payload"]), JobSubmit, 8_192)
    for name, problem in _spoil(asked.json, given).items():
        with pytest.raises(SigningRefusedError):
            build_submission(wallet, problem, BODY, "key")
            pytest.fail(name)


def _spoil(problem: dict[str, Any], given: JobSubmit) -> dict[str, dict[str, Any]]:
    """Return the coordinator's answer with one thing changed each."""
    content, opening = problem["content"], problem["terms"]
    other = {**content, "input": {**content["input"], "prompt": "Say nothing."}}

    def with_content(changed: Any) -> dict[str, Any]:
        hashed = terms.compute_content_hash(changed).hex()
        return {**problem, "content": changed, "terms": {**opening, "input_hash": hashed}}

    def with_payload(**changes: Any) -> dict[str, Any]:
        members = {name: getattr(given, name) for name in JobSubmit.__struct_fields__}
        return {**problem, "payload": codec.encode(JobSubmit(**{**members, **changes})).hex()}

    return {
        "another prompt": with_content(other),
        "content that is not hashed": {**problem, "content": other},
        "another model": {**problem, "content": {**content, "model": "other@1"}},
        "another service": with_payload(service="text_embedding"),
        "more money": with_payload(escrow=given.escrow + 1),
        "another deadline": with_payload(total_deadline=opening["deadline"] + 1),
        "another client": {**problem, "terms": {**opening, "client": "11" * 20}},
        "a price over the escrow": {
            **problem, "terms": {**opening, "max_price": opening["max_price"] * 2},
        },
        "not yet": {**problem, "terms": {**opening, "not_before": 1}},
        "nothing": {},
        "no payload": {**problem, "payload": "00"},
        "no terms": {**problem, "terms": []},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({"max_cost": "0.5"}, 5 * 10**8),
        ({"max_cost": 2}, 2 * 10**9),
        ({"pricing": {"max_cost": "0.000000001"}}, 1),
    ],
)
def test_the_bound_is_what_the_body_says(body: dict[str, Any], limit: int) -> None:
    assert read_limit(body) == limit


@pytest.mark.parametrize("text", ["", "1e400", "NaN", "-1", "0.0000000001", [], None])
def test_no_bound_is_read_from_what_is_no_amount(text: Any) -> None:
    with pytest.raises(SigningRefusedError):
        read_limit({"max_cost": text})


def test_terms_have_the_members_that_are_checked() -> None:
    """A new member of the terms must be looked at before it is signed."""
    assert set(Terms.__struct_fields__) == {
        "job", "client", "max_units", "max_price", "not_before", "deadline", "model", "input_hash",
        "salt",
    }  # fmt: skip
