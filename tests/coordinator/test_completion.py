import asyncio
from typing import Any

import pytest

from coordinator import sql
from coordinator.tables import ReceiptRow
from tests.support.world import World


async def test_a_kill_between_receipt_and_settlement_pays_once(world: World) -> None:
    """The process dies after the receipt is durable and before the settlement left."""
    await world.register()
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    assert (await world.claim(job["job_id"])).status == 200
    world.chain.is_answering = False
    world.settings = world.settings.model_copy(update={"submit_wait": 30.0})
    await world.restart()
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    sending = asyncio.create_task(world.call("POST", path + "/complete", "miner", body))
    await world.until(path, "client", lambda j: j["phase"] == "settling")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await world.stop()
    world.chain.is_answering = True
    await world.start()
    final = await world.until(path, "client", lambda j: j["status"] == "completed")
    assert final["settlement"]["paid_base"] == str(12 * int(job["max_price_base"]))
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200


async def test_a_receipt_without_its_proof_is_proved_at_start(world: World) -> None:
    await world.register()
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    await world.claim(job["job_id"])
    await world.coordinator.prover.close()
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    busy = await world.call("POST", path + "/complete", "miner", body)
    assert (busy.status, busy.json["error_code"]) == (503, "PROVER_BUSY")
    shown = (await world.call("GET", path, "client")).json
    assert (shown["phase"], shown["progress"], shown["result"]) == ("proving", 99, None)
    await world.restart()
    final = await world.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"] == "Hello."


async def test_nothing_of_a_job_is_logged(
    world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await world.register()
    job = await world.submit(prompt="a private question")
    path = f"/v1/jobs/{job['job_id']}"
    await world.claim(job["job_id"])
    body = {"miner_id": "miner_miner", "result": "a private answer", "units": 12}
    await world.call("POST", path + "/complete", "miner", body)
    await world.until(path, "client", lambda j: j["status"] == "completed")
    logged = capfd.readouterr()
    text = logged.out + logged.err + caplog.text
    for person in world.people.values():
        assert person.key not in text
        assert person.seed.hex() not in text
    assert "lease ended" in text
    assert "private" not in text


async def test_a_lapsed_lease_leaves_no_receipt(world: World) -> None:
    await world.register()
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    await world.claim(job["job_id"])
    await world.coordinator.prover.close()
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    await world.call("POST", path + "/complete", "miner", body)
    world.pass_time(660)
    shown = await world.until(path, "client", lambda j: j["phase"] == "queued")
    assert shown["miner_id"] is None
    assert shown["progress"] == 99, "progress never falls"
    receipts = await world.database.read(lambda c: sql.find(c, ReceiptRow, miner="miner_miner"))
    assert receipts is None


async def test_a_begun_second_is_one_where_nobody_counts(world: World) -> None:
    await world.register(capabilities=["custom_code"])
    code: Any = {"type": "python", "entrypoint": "model.py"}
    job = await world.submit(type="ai-inference", model=code, prompt=None, params=None, input={})
    path = f"/v1/jobs/{job['job_id']}"
    assert (await world.claim(job["job_id"])).status == 200
    body = {"miner_id": "miner_miner", "result": {"prediction": "cat"}}
    counted = await world.call("POST", path + "/complete", "miner", {**body, "units": 2})
    assert (counted.status, counted.json["errors"][0]["pointer"]) == (422, "/units")
    done = await world.call("POST", path + "/complete", "miner", body)
    assert (done.status, done.json["units"]) == (200, 1)
    world.pass_time(2)
    final = await world.until(path, "client", lambda j: j["status"] == "completed")
    assert final["settlement"]["paid_base"] == job["max_price_base"]
    receipt = (await world.call("GET", path + "/receipt", "client")).json
    assert receipt["completed_ms"] - receipt["started_ms"] == 1_000
