import asyncio
import json
from typing import Any

from coordinator import foreign_rows
from coordinator.relay_messages import MAX_RESULT_BYTES, HandIn, Taken, decode_answer
from coordinator.tables import ForeignLeaseRow
from ledger import codec
from ledger.entries import JobStatus
from ledger.faults import Reason
from ledger.receipts import parse_receipt, sign_receipt
from ledger.state import get_job, get_miner
from ledger.transactions import JobFail, JobSettle
from tests.coordinator.test_foreign_leasing import (
    claim_signed,
    cut_at,
    get_bond,
    open_content,
    reconnect,
)
from tests.support.coordinators import Cluster, list_attempts
from tests.support.self_custody import build_completion, register, sign
from tests.support.world import Reply, make_seed

BODY = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}


async def lease(cluster: Cluster, **members: Any) -> dict[str, Any]:
    """Return a job of home that local's custodial miner holds."""
    await cluster.local.register()
    job: dict[str, Any] = await cluster.home.submit(**members)
    assert (await cluster.local.claim(job["job_id"])).status == 200
    return job


async def lease_signed(cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a job that a miner with a key of its own holds, and what it may hand in."""
    await register(cluster.local)
    job = await cluster.home.submit()
    claimed = (await claim_signed(cluster, job)).json
    whole = {**claimed, **open_content(claimed)}
    return job, await build_completion(cluster.local, whole, {"text": "Hello."}, 12)


async def complete(
    cluster: Cluster, job: dict[str, Any], body: Any = BODY, who: str = "miner"
) -> Reply:
    return await cluster.local.call("POST", f"/v1/jobs/{job['job_id']}/complete", who, body)


async def wait_settled(cluster: Cluster, job: dict[str, Any]) -> Any:
    path = f"/v1/jobs/{job['job_id']}"
    return await cluster.home.until(path, "client", lambda j: j["status"] == "completed")


def count_settlements(cluster: Cluster) -> int:
    return sum(
        isinstance(transaction.payload, JobSettle)
        for block in cluster.chain.blocks
        for transaction in block.transactions
    )


async def find_row(cluster: Cluster, job: dict[str, Any]) -> ForeignLeaseRow | None:
    job_id = bytes.fromhex(job["job_id"][4:])
    return await cluster.local.database.read(lambda c: foreign_rows.find(c, job_id))


async def test_the_same_result_twice_is_one_receipt(cluster: Cluster) -> None:
    job = await lease(cluster)
    first, second = await asyncio.gather(complete(cluster, job), complete(cluster, job))
    assert first.status == second.status == 200
    assert first.json["signed_payload"] == second.json["signed_payload"]
    await wait_settled(cluster, job)
    await cluster.local.coordinator.wait_followed()
    again = await complete(cluster, job)
    assert (again.status, again.json["status"]) == (200, "final"), again
    assert again.json["signed_payload"] == first.json["signed_payload"]
    assert [a["type"] for a in again.json["attestations"]] == ["completion"]
    other = await complete(cluster, job, {**BODY, "result": "Bye."})
    assert (other.status, other.json["error_code"]) == (409, "JOB_ALREADY_COMPLETED")
    assert count_settlements(cluster) == 1
    row = await find_row(cluster, job)
    assert row is not None
    assert (row.content, row.result, row.terms, row.token) == (None, None, None, None)


async def test_the_same_signed_result_twice_is_one_receipt(cluster: Cluster) -> None:
    job, body = await lease_signed(cluster)
    replies = await asyncio.gather(*(complete(cluster, job, body, "digger") for _ in range(4)))
    assert [reply.status for reply in replies] == [200] * 4
    await wait_settled(cluster, job)
    again = await complete(cluster, job, body, "digger")
    assert (again.status, again.json["status"]) == (200, "final"), again
    assert count_settlements(cluster) == 1


async def test_no_settlement_leaves_before_the_result_is_durable(cluster: Cluster) -> None:
    job, body = await lease_signed(cluster)
    cluster.relay.is_cut = True
    refused = await complete(cluster, job, body, "digger")
    assert (refused.status, refused.json["error_code"]) == (503, "COORDINATOR_UNREACHABLE")
    await asyncio.sleep(0.3)
    assert count_settlements(cluster) == 0
    reconnect(cluster)
    assert (await complete(cluster, job, body, "digger")).status == 200
    assert (await wait_settled(cluster, job))["result"] == {"text": "Hello."}


async def test_what_a_custodial_miner_handed_in_goes_on_by_itself(cluster: Cluster) -> None:
    job = await lease(cluster)
    cut_at(cluster, HandIn)
    assert (await complete(cluster, job)).status == 503
    await cluster.local.restart()
    reconnect(cluster)
    assert (await wait_settled(cluster, job))["result"] == "Hello."
    assert count_settlements(cluster) == 1


async def test_a_kill_between_result_and_settlement_pays_once(cluster: Cluster) -> None:
    job = await lease(cluster)
    path = f"/v1/jobs/{job['job_id']}"
    cluster.chain.is_answering = False
    sending = asyncio.create_task(complete(cluster, job))
    await cluster.home.until(path, "client", lambda j: j["phase"] == "proving")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await cluster.local.stop()
    cluster.chain.is_answering = True
    await cluster.local.start()
    await wait_settled(cluster, job)
    assert (await complete(cluster, job)).status == 200
    assert count_settlements(cluster) == 1


async def test_a_result_that_nobody_takes_is_given_up_before_it_costs_bond(
    cluster: Cluster,
) -> None:
    job = await lease(cluster)
    cluster.relay.is_cut = True
    assert (await complete(cluster, job)).status == 503
    cluster.home.pass_time(575)
    await cluster.until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.CONTENT_UNAVAILABLE)]
    assert get_bond(cluster, "miner_miner") == cluster.chain.parameters.minimum_bond
    fails = [
        transaction.payload
        for block in cluster.chain.blocks
        for transaction in block.transactions
        if isinstance(transaction.payload, JobFail)
    ]
    assert len(fails) == 1


async def test_a_home_that_signs_for_nothing_is_not_believed(cluster: Cluster) -> None:
    job, body = await lease_signed(cluster)

    def forge(data: bytes) -> bytes:
        is_taken = isinstance(decode_answer(data), Taken)
        return codec.encode(Taken(b"[]")) if is_taken else data

    cluster.relay.change = forge
    refused = await complete(cluster, job, body, "digger")
    assert (refused.status, refused.json["error_code"]) == (503, "COORDINATOR_UNREACHABLE")
    assert count_settlements(cluster) == 0


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "/receipt_opening/result_hash": {"result": {"text": "Bye."}},
    "/price_opening": {"price_opening": {"price": 999, "salt": "00" * 32}},
    "/receipt_opening": {"receipt_opening": {"units": 12}},
}


async def test_a_result_that_contradicts_itself_is_refused(cluster: Cluster) -> None:
    job, body = await lease_signed(cluster)
    core, _ = parse_receipt(body["receipt"])
    forged = {"/receipt/signature": {"receipt": sign_receipt(make_seed("rival"), core)}}
    for pointer, change in {**CONTRADICTIONS, **forged}.items():
        refused = await complete(cluster, job, {**body, **change}, "digger")
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, pointer), refused
    assert (await complete(cluster, job, body, "digger")).status == 200


async def test_a_settlement_of_something_else_stays_here(cluster: Cluster) -> None:
    job, body = await lease_signed(cluster)
    other = JobSettle(bytes(32), bytes(32), 1, 1, bytes(192))
    asked = len(cluster.relay.asked)
    for transaction in (sign(cluster.local, "digger", other), None):
        wrong = {**body, "transaction": transaction}
        refused = await complete(cluster, job, wrong, "digger")
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/transaction")
    assert len(cluster.relay.asked) == asked


async def test_a_result_too_large_to_travel_is_refused(cluster: Cluster) -> None:
    cluster.local.settings = cluster.local.settings.model_copy(
        update={"maximum_json_bytes": 4 * 2**20}
    )
    await cluster.local.restart()
    job = await lease(cluster)
    data = json.dumps({**BODY, "result": "x" * MAX_RESULT_BYTES}).encode()
    path = f"/v1/jobs/{job['job_id']}/complete"
    refused = await cluster.local.call("POST", path, "miner", data=data)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/result")
    assert (await complete(cluster, job)).status == 200


async def test_nobody_hands_in_for_another(cluster: Cluster) -> None:
    job = await lease(cluster)
    await cluster.local.register("rival")
    for body in ({**BODY, "miner_id": "miner_rival"}, BODY):
        refused = await complete(cluster, job, body, "rival")
        assert (refused.status, refused.json["error_code"]) == (409, "LEASE_NOT_HELD")
    assert (await complete(cluster, job)).status == 200


async def test_the_units_already_done_of_a_cancelled_job_are_paid(cluster: Cluster) -> None:
    job = await lease(cluster)
    path = f"/v1/jobs/{job['job_id']}"
    assert (await cluster.home.call("DELETE", path, "client")).status == 200
    assert (await complete(cluster, job)).status == 200
    final = await wait_settled(cluster, job)
    assert final["settlement"]["paid_base"] == str(12 * int(job["max_price_base"]))


async def test_a_lease_that_lapses_is_forgotten(cluster: Cluster) -> None:
    job = await lease(cluster)
    cluster.home.pass_time(601)
    await cluster.until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("LAPSED", Reason.LEASE_LAPSED)]
    await cluster.local.coordinator.wait_followed()
    assert await find_row(cluster, job) is None
    late = await complete(cluster, job)
    assert (late.status, late.json["error_code"]) == (409, "JOB_NOT_LEASED")
    miner = get_miner(cluster.chain.get_view(), "miner_miner")
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert miner is not None and entry is not None
    assert (miner.lapsed, entry.status) == (1, JobStatus.QUEUED)
