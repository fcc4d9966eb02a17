"""Lists to their last page, jobs to their end, text as it comes: against real servers."""

import json
from typing import Any

import pytest

from aitbc import errors
from aitbc.client import AITBCClient, AsyncAITBCClient
from aitbc.models import Job
from tests.support.scripted_server import Prepared, serve


def page(name: str, ids: list[str], cursor: str | None) -> Prepared:
    items = [{"job_id": each, "status": "completed"} for each in ids]
    return Prepared(
        200, {name: items, "total": 3, "has_more": cursor is not None, "next_cursor": cursor}
    )


def event(name: str, data: Any, identity: int | None = None) -> bytes:
    lines = [f"event: {name}", f"data: {json.dumps(data)}"]
    lines += [] if identity is None else [f"id: {identity}"]
    return ("\n".join(lines) + "\n\n").encode()


TEXT = (
    event("status", {"status": "running"})
    + b": still here\n\n"
    + event("delta", {"delta": "Hel"}, 3)
)
REST = event("delta", {"delta": "lo."}, 6) + event("done", {"status": "completed"})
SSE = (("Content-Type", "text/event-stream"),)


def test_a_list_is_gone_through_to_its_last_page() -> None:
    answers = (page("jobs", ["job_1", "job_2"], "c1"), page("jobs", ["job_3"], None))
    with serve(*answers) as server, AITBCClient(server.url) as client:
        found = list(client.jobs.list_all(status="completed", limit=2))
        assert [job.job_id for job in found] == ["job_1", "job_2", "job_3"]
    paths = [asked.path for asked in server.asked]
    assert paths == [
        "/v1/jobs?status=completed&limit=2", "/v1/jobs?status=completed&limit=2&cursor=c1",
    ]  # fmt: skip


async def test_pages_are_asked_for_as_they_are_needed() -> None:
    with serve(page("jobs", ["job_1", "job_2"], "c1")) as server:
        async with AsyncAITBCClient(server.url) as client:
            async for job in client.jobs.list_all():
                assert job["job_id"] == "job_1"
                break
    assert len(server.asked) == 1


def test_a_list_that_goes_in_a_circle_is_refused() -> None:
    with (
        serve(page("jobs", ["job_1"], "c1")) as server,
        AITBCClient(server.url) as client,
        pytest.raises(errors.InvalidAnswerError, match="same page"),
    ):
        list(client.jobs.list_all())
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_waiting_ends_on_every_end_and_tells_each_phase(status: str) -> None:
    phases = ("queued", "running", "running")
    running = [
        Prepared(200, {"job_id": "job_1", "status": "running", "phase": each}) for each in phases
    ]
    ended = Prepared(200, {"job_id": "job_1", "status": status, "phase": "done"})
    seen: list[Job] = []
    with serve(*running, ended) as server, AITBCClient(server.url) as client:
        job = client.jobs.wait("job_1", until="final", on_change=seen.append)
    assert job.status == status
    assert [each.phase for each in seen] == ["queued", "running", "done"]


async def test_a_job_waits_for_itself() -> None:
    new, done = ({"job_id": "job_1", "status": each} for each in ("pending", "completed"))
    with serve(Prepared(201, new), Prepared(200, done)) as server:
        async with AsyncAITBCClient(server.url) as client:
            job = await client.jobs.create(prompt="hello")
            ended = await job.wait()
            assert (job.is_over, ended.is_over) == (False, True)
            assert (await ended.refresh()).status == "completed"


def test_a_stream_is_taken_up_where_it_broke() -> None:
    answers = (Prepared(200, TEXT, SSE), Prepared(0), Prepared(200, REST, SSE))
    with serve(*answers) as server, AITBCClient(server.url) as client:
        events = list(client.jobs.stream("job_1"))
    assert "".join(each.delta for each in events) == "Hello."
    assert [each.event for each in events] == ["status", "delta", "delta", "done"]
    asked = [each.headers.get("last-event-id") for each in server.asked]
    assert asked == [None, "3", "3"]


async def test_a_stream_is_awaited_alike() -> None:
    with serve(Prepared(200, TEXT + REST, SSE)) as server:
        async with AsyncAITBCClient(server.url) as client:
            texts = [each.delta async for each in client.jobs.stream("job_1")]
    assert texts == ["", "Hel", "lo.", ""]


def test_a_refused_stream_is_the_error_that_it_is() -> None:
    problem = Prepared(404, {"error_code": "JOB_NOT_FOUND", "detail": "none"})
    with (
        serve(problem) as server,
        AITBCClient(server.url) as client,
        pytest.raises(errors.JobNotFoundError),
    ):
        next(client.jobs.stream("job_1"))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"event: delta\ndata: {\n\n", b"data: []\n\n", b"data: " + b"x" * 1_100_000],
    ids=["no JSON", "no object", "endless"],
)
def test_what_is_no_stream_of_events_is_refused(body: bytes) -> None:
    with (
        serve(Prepared(200, body, SSE)) as server,
        AITBCClient(server.url) as client,
        pytest.raises(errors.InvalidAnswerError),
    ):
        list(client.jobs.stream("job_1"))
