"""Which offered jobs are claimed, and what the chain's record of a job must hold."""

from typing import Any

import pytest

from aitbc.errors import InvalidAnswerError
from aitbc.models import Job, Model
from miner.claims import ChainJob, plan_claim, read_chain_job
from miner.work import Stage
from tests.miner.samples import CLIENT, JOB, MODEL

PRICES = {"llm_inference": 900}


def make_job(**changed: Any) -> Job:
    members = {
        "job_id": f"job_{JOB.hex()}",
        "status": "pending",
        "service": "llm_inference",
        "billing": 0,
        "model": MODEL,
        "max_price_base": "1000",
        **changed,
    }
    return Job.model_validate(members)


def test_a_job_is_claimed_at_the_announced_price() -> None:
    work = plan_claim(make_job(), PRICES, {"llm_inference": MODEL})
    assert work is not None
    assert (work.job, work.price, work.stage) == (JOB, 900, Stage.CLAIMING)


def test_an_accepted_offer_makes_the_price_public() -> None:
    accepted = {"offer_id": "offer_0", "miner_id": "miner_a", "price_base": "7"}
    work = plan_claim(make_job(accepted_offer=accepted), PRICES, {"llm_inference": MODEL})
    assert work is not None and (work.price, work.is_price_public) == (7, True)
    plain = plan_claim(make_job(), PRICES, {"llm_inference": MODEL})
    assert plain is not None and not plain.is_price_public
    for price in ("0", "-1", "1001"):
        job = make_job(accepted_offer={**accepted, "price_base": price})
        assert plan_claim(job, PRICES, {"llm_inference": MODEL}) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"max_price_base": "899"},
        {"service": "blender_rendering"},
        {"service": "x"},
        {"model": "smollm2-135m"},
        {"model": "llama3.2"},
        {"model": None},
    ],
)
def test_a_job_that_is_not_for_us_is_left(changed: dict[str, Any]) -> None:
    assert (
        plan_claim(
            make_job(**changed), {**PRICES, "blender_rendering": 1}, {"llm_inference": MODEL}
        )
        is None
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"max_price_base": "many"},
        {"max_price_base": None},
        {"job_id": "job_00"},
        {"job_id": "job_zz"},
        {"billing": None},
        {"accepted_offer": {}},
        {"accepted_offer": 5},
        {"accepted_offer": {"price_base": "x"}},
        {"service": ["llm_inference"]},
    ],
)
def test_an_offer_out_of_contract_is_named_as_such(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidAnswerError):
        plan_claim(make_job(**changed), PRICES, {"llm_inference": MODEL})


def test_the_chains_record_is_read() -> None:
    members = {"client": CLIENT.text_address, "escrow_base": "5", "job_commit": "01" * 32}
    found = read_chain_job(Model.model_validate(members))
    assert found == ChainJob(CLIENT.address, 5, bytes([1]) * 32)
    accepted = {"miner_id": "miner_a", "price_base": "7"}
    found = read_chain_job(Model.model_validate({**members, "acceptance": accepted}))
    assert (found.accepted_miner, found.accepted_price) == ("miner_a", 7)


@pytest.mark.parametrize(
    "changed", [{"client": "ait1x"}, {"escrow_base": "x"}, {"job_commit": 5}, {"client": None}]
)
def test_a_record_out_of_contract_is_named_as_such(changed: dict[str, Any]) -> None:
    members = {"client": CLIENT.text_address, "escrow_base": "5", "job_commit": "01" * 32}
    with pytest.raises(InvalidAnswerError):
        read_chain_job(Model.model_validate({**members, **changed}))
