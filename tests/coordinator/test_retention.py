import asyncio
import io
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from sqlalchemy import Connection

from coordinator import job_rows, retention, sql
from coordinator.files import ERASED_AT_ONCE, PART_BYTES
from coordinator.job_rows import CONTENTS
from coordinator.sql import get_table
from coordinator.tables import FilePartRow, FileRow, JobRow
from ledger import terms
from tests.support.world import World, open_world


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
        hidden = await world.database.write(lambda c: retention.hide_old_files(c, later))
    assert (erased, hidden) == (0, 0), "the second sweep finds nothing"
    shown = (await world.call("GET", path, "client")).json
    assert (shown["prompt"], shown["status"]) == (None, "cancelled")
    assert (await world.call("GET", f"/v1/files/{file}", "client")).status == 404
    other = (await world.call("GET", f"/v1/jobs/{live['job_id']}", "client")).json
    assert other["prompt"] == "Say hello."
    gone = await world.call("GET", path + "/content", "client")
    assert (gone.status, gone.json["error_code"]) == (410, "CONTENT_DELETED")


async def test_a_sweep_erases_all_that_is_due_and_what_never_came_whole(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        job = await world.submit()
        await world.call("DELETE", f"/v1/jobs/{job['job_id']}", "client")
        await world.database.write(_copy_job)
        form = aiohttp.FormData()
        sound = io.BytesIO(bytes(2 * ERASED_AT_ONCE * PART_BYTES))
        form.add_field("file", sound, filename="a")
        await world.call("POST", "/v1/files", "client", data=form)
        row = FileRow(file_id=bytes(32), account_id=1, name="", content_type="", created_ms=0)
        await world.database.write(lambda connection: sql.insert(connection, row))
        world.settings = world.settings.model_copy(
            update={"content_retention": 0.001, "file_deadline": 0.001}
        )
        world.clock.advance(10)
        await world.restart()
        left = (FileRow, FilePartRow)

        def measure(connection: Connection) -> tuple[int, ...]:
            kept = sa.select(CONTENTS.c.job_row_id).where(CONTENTS.c.content.is_not(None))
            found = [kept, *(sa.select(sa.literal(1)).select_from(get_table(t)) for t in left)]
            return tuple(len(connection.execute(each).all()) for each in found)

        for _ in range(400):
            if (kept := await world.database.read(measure)) == (0, 0, 0):
                break
            await asyncio.sleep(0.05)
        assert kept == (0, 0, 0)


def _copy_job(connection: Connection) -> None:
    job = sql.find(connection, JobRow, status="cancelled")
    assert job is not None
    for number in range(retention.BATCH):
        same = {**vars(job), "row_id": None, "job_id": number.to_bytes(32)}
        job_rows.add_job(connection, JobRow(**same), "{}", "{}")


async def test_what_is_due_is_found_without_a_look_at_every_job(world: World) -> None:
    statement = retention.select_due(10)

    def explain(connection: Connection) -> str:
        text = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"explain query plan {text}")
        return " ".join(str(row) for row in plan)

    assert "jobs_to_erase" in await world.database.read(explain)


async def test_a_client_reads_what_its_terms_bind(world: World) -> None:
    await world.register()
    job_id = (await world.submit())["job_id"]
    content = (await world.call("GET", f"/v1/jobs/{job_id}/content", "client")).json
    assert content["input"] == {"prompt": "Say hello."}
    claimed = (await world.claim(job_id)).json
    assert claimed["content"] == content
    assert claimed["terms"]["input_hash"] == terms.compute_content_hash(content).hex()
    assert (await world.call("GET", f"/v1/jobs/{job_id}/content", "miner")).status in (403, 404)
