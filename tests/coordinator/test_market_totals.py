from coordinator.market_totals import KEPT_BLOCKS, Market
from tests.support.world import World


async def test_the_totals_are_the_chains_and_the_average_is_kept_for_some_blocks(
    world: World,
) -> None:
    market = Market(world.chain)
    assert tuple(await market.compute_totals()) == (0, 0, 0, 0, 0, 0.0, 0, 0)
    await world.register()
    job = (await world.submit())["job_id"]
    cancelled = (await world.submit(prompt="x"))["job_id"]
    await world.call("DELETE", f"/v1/jobs/{cancelled}", "client")
    await world.claim(job)
    body = {"miner_id": "miner_miner", "result": "x", "units": 2}
    await world.call("POST", f"/v1/jobs/{job}/complete", "miner", body)
    await world.until(f"/v1/jobs/{job}", "client", lambda job: job["status"] == "completed")
    await world.submit(prompt="y")
    for _ in range(KEPT_BLOCKS):
        world.chain.produce()
    totals = await market.compute_totals()
    assert (totals.total_jobs, totals.active_jobs, totals.active_miners) == (3, 1, 1)
    assert (totals.completed_jobs, totals.failed_jobs, totals.cancelled_jobs) == (1, 0, 1)
    assert totals.average_completion_time > 0 and totals.total_volume > 0
