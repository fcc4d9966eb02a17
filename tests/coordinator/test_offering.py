import asyncio
from pathlib import Path

from sqlalchemy import Connection

from coordinator import job_rows, sql
from coordinator.foreign_jobs import FIRST_SILENCE
from coordinator.offering import MAX_SCANS, SCAN_BATCH
from coordinator.tables import JobRow
from tests.support.coordinators import Cluster, open_cluster
from tests.support.world import Reply, World

AVAILABLE = "/v1/jobs/available"


async def look(world: World, wait: int = 0, who: str = "miner") -> Reply:
    return await world.call("GET", f"{AVAILABLE}?wait={wait}", who)


async def test_own_jobs_come_first_then_the_oldest_of_others(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, 3) as cluster:
        third = cluster.worlds[2]
        await third.register("visitor")
        posted = [
            await cluster.home.submit(prompt="first"),
            await cluster.home.submit(prompt="third"),
        ]
        posted.insert(1, await cluster.home.submit(prompt="second"))
        own = await third.submit("other", prompt="own")
        await third.coordinator.wait_followed()
        expected = [own, posted[0], posted[2], posted[1]]
        for job in expected:
            offered = await look(third, 2, "visitor")
            assert offered.json["job_id"] == job["job_id"]
            assert (await third.claim(job["job_id"], "visitor")).status == 200
        assert (await look(third, 0, "visitor")).json is None


async def test_a_miner_that_waits_hears_of_a_job_elsewhere(cluster: Cluster) -> None:
    await cluster.local.register()
    waiting = asyncio.create_task(look(cluster.local, 30))
    await asyncio.sleep(0.3)
    asked = len(cluster.relay.asked)
    assert asked == 0, "with nothing queued anywhere there is nothing to ask"
    loop = asyncio.get_running_loop()
    begin = loop.time()
    job = await cluster.home.submit()
    offered = await waiting
    assert offered.json["job_id"] == job["job_id"]
    assert loop.time() - begin < FIRST_SILENCE


async def test_requirements_of_a_job_elsewhere_are_kept_to(cluster: Cluster) -> None:
    await cluster.local.register(prices={"llm_inference": 5_000})
    await cluster.local.register("rival", gpu_info={"name": "A100", "memory": "80GB", "count": 2})
    large = await cluster.home.submit(requirements={"gpu_count": 2}, max_cost="0.5")
    cheap = await cluster.home.submit(max_cost="0.0001")
    await cluster.local.coordinator.wait_followed()
    assert (await look(cluster.local)).json is None
    refused = await cluster.local.claim(large["job_id"])
    assert refused.status == 404, "of jobs that it could not be offered a miner learns nothing"
    offered = await look(cluster.local, 0, "rival")
    assert offered.json["job_id"] == large["job_id"]
    assert (await cluster.local.claim(large["job_id"], "rival")).status == 200
    assert (await look(cluster.local, 0, "rival")).json["job_id"] == cheap["job_id"]


async def test_a_coordinator_that_comes_back_is_asked_again(cluster: Cluster) -> None:
    await cluster.local.register()
    cluster.relay.is_cut = True
    job = await cluster.home.submit()
    assert (await look(cluster.local, 1)).json is None
    waiting = asyncio.create_task(look(cluster.local, 30))
    await asyncio.sleep(0.2)
    cluster.relay.is_cut = False
    cluster.local.coordinator.note_reachable(cluster.home.coordinator.address)
    assert (await waiting).json["job_id"] == job["job_id"]


async def test_a_coordinator_that_comes_back_unannounced_is_asked_in_time(
    cluster: Cluster,
) -> None:
    await cluster.local.register()
    cluster.relay.is_cut = True
    job = await cluster.home.submit()
    waiting = asyncio.create_task(look(cluster.local, 30))
    await asyncio.sleep(0.5)
    cluster.relay.is_cut = False
    assert (await waiting).json["job_id"] == job["job_id"]


async def test_a_restart_finds_what_is_queued(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    await cluster.local.restart()
    assert (await look(cluster.local)).json["job_id"] == job["job_id"]


async def test_jobs_that_suit_nobody_hide_none_behind_them(world: World) -> None:
    await world.register()
    first = await world.submit()
    job_id = bytes.fromhex(first["job_id"].removeprefix("job_"))

    def fill(connection: Connection) -> None:
        job = sql.find(connection, JobRow, job_id=job_id)
        assert job is not None
        for number in range(SCAN_BATCH * MAX_SCANS):
            same = {**vars(job), "row_id": None, "job_id": number.to_bytes(32)}
            job_rows.add_job(connection, JobRow(**same), "{}", "{}")

    await world.database.write(fill)
    await world.call("DELETE", f"/v1/jobs/{first['job_id']}", "client")
    job = await world.submit()
    assert (await look(world)).json is None, "as far as one look goes"
    assert (await look(world)).json["job_id"] == job["job_id"]
    assert (await world.claim(job["job_id"])).status == 200
    again = await world.submit()
    found = [(await look(world)).json for _ in range(3)]
    assert again["job_id"] in [job and job["job_id"] for job in found], "and round again"
