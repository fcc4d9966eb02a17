"""What happens, as it happens: on the command line, at a true node."""

import asyncio
import json
import signal
from pathlib import Path

from tests.support.clients import served_node


async def test_a_job_is_watched_to_its_end(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        job = await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        watch = await served.start_command("jobs", "watch", job.job_id, "--json")
        assert watch.stdout is not None
        first = await asyncio.wait_for(watch.stdout.readline(), 20)
        await served.complete(job.job_id)
        rest, complaint = await asyncio.wait_for(watch.communicate(), 20)
        assert watch.returncode == 0, complaint
        lines = [json.loads(line) for line in (first + rest).splitlines()]
        assert {line["data"]["job_id"] for line in lines} == {job.job_id}
        assert lines[-1]["data"]["status"] == "completed"
        again = await served.run_command("jobs", "watch", job.job_id)
        assert (again.exit_code, again.stdout) == (0, "")
        assert "completed" in again.stderr
        absent = await served.run_command("jobs", "watch", "job_" + "0" * 64)
        assert (absent.exit_code, absent.stdout) == (31, "")
        assert "aitbc jobs list" in absent.stderr


async def test_blocks_and_all_jobs_are_watched_until_one_looks_away(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        blocks = await served.start_command("blocks", "watch", "--json")
        jobs = await served.start_command("jobs", "watch", "--since", "0")
        assert blocks.stdout is not None and jobs.stdout is not None
        await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        told = await asyncio.wait_for(jobs.stdout.readline(), 20)
        assert told.startswith(b"job_update  job_id=job_")
        waiting = asyncio.create_task(blocks.stdout.readline())
        async with asyncio.timeout(40):
            while not waiting.done():
                await client.jobs.create(prompt="Say hello.", max_cost="0.01")
                await asyncio.wait([waiting], timeout=0.2)
        assert json.loads(waiting.result())["type"] == "block_created"
        for process in (blocks, jobs):
            process.send_signal(signal.SIGINT)
            _, complaint = await asyncio.wait_for(process.communicate(), 30)
            assert b"Traceback" not in complaint
            assert process.returncode in (1, 130)


async def test_a_jobs_text_is_printed_as_it_comes(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        job = await client.jobs.create(prompt="Say hello.", max_cost="0.5")
        stream = await served.start_command("jobs", "stream", job.job_id)
        await served.complete(job.job_id, {"text": "Hello."})
        text, complaint = await asyncio.wait_for(stream.communicate(), 30)
        assert (stream.returncode, text) == (0, b"Hello.\n"), complaint
        events = [event async for event in job.stream()]
        assert "".join(event.delta for event in events) == "Hello."
        assert (events[-1].event, events[-1].data["status"]) == ("done", "completed")
        rest = [event.delta async for event in job.stream(offset=4)]
        assert "".join(rest) == "o."
        told = await served.run_command("jobs", "stream", job.job_id, "--json")
        assert [json.loads(line)["event"] for line in told.stdout.splitlines()][-1] == "done"
