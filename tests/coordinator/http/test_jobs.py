from tests.support.world import World


async def test_a_job_from_submission_to_settlement(world: World) -> None:
    await world.register()
    job = await world.submit()
    before = world.get_balance("client")
    claimed = await world.claim(job["job_id"])
    assert claimed.status == 200, claimed
    done = await world.call(
        "POST",
        f"/v1/jobs/{job['job_id']}/complete",
        "miner",
        {"miner_id": "miner_miner", "result": "Hello.", "units": 12},
    )
    assert done.status == 200, done
    final = await world.until(
        f"/v1/jobs/{job['job_id']}", "client", lambda j: j["status"] == "completed"
    )
    assert final["result"] == "Hello."
    assert world.get_balance("client") > before
