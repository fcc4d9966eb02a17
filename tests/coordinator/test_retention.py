import aiohttp

from coordinator import retention
from ledger import terms
from tests.support.world import World


async def test_contents_and_files_go_and_the_job_stays(world: World) -> None:
    job = await world.submit()
    live = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    await world.call("DELETE", path, "client")
    form = aiohttp.FormData()
    form.add_field("file", b"abc", filename="a")
    file = (await world.call("POST", "/v1/files", "client", data=form)).json["file_id"]
    later = world.clock.read() + 1_000
    for _ in range(2):
        erased = await world.database.write(lambda c: retention.erase_contents(c, later))
        deleted = await world.database.write(lambda c: retention.delete_old_files(c, later))
    assert (erased, deleted) == (0, 0), "the second sweep finds nothing"
    shown = (await world.call("GET", path, "client")).json
    assert (shown["prompt"], shown["status"]) == (None, "cancelled")
    assert (await world.call("GET", f"/v1/files/{file}", "client")).status == 404
    other = (await world.call("GET", f"/v1/jobs/{live['job_id']}", "client")).json
    assert other["prompt"] == "Say hello."
    gone = await world.call("GET", path + "/content", "client")
    assert (gone.status, gone.json["error_code"]) == (410, "CONTENT_DELETED")


async def test_a_client_reads_what_its_terms_bind(world: World) -> None:
    await world.register()
    job_id = (await world.submit())["job_id"]
    content = (await world.call("GET", f"/v1/jobs/{job_id}/content", "client")).json
    assert content["input"] == {"prompt": "Say hello."}
    claimed = (await world.claim(job_id)).json
    assert claimed["content"] == content
    assert claimed["terms"]["input_hash"] == terms.compute_content_hash(content).hex()
    assert (await world.call("GET", f"/v1/jobs/{job_id}/content", "miner")).status in (403, 404)
