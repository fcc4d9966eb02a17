"""Decides how things are followed: a list to its last page, a job to its end, a text as it comes.

Flows only: aitbc/transport.py carries them out.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

from aitbc.calls.common import quote
from aitbc.calls.jobs import get_job
from aitbc.errors import (
    AITBCError,
    ConnectionFailedError,
    InvalidAnswerError,
    JobFailedError,
    WaitTimeoutError,
)
from aitbc.exchange import Exchange, RetryPolicy
from aitbc.market_models import JobEvent
from aitbc.models import Job, Page
from aitbc.steps import Call, Emit, Flow, OpenLines, Pause, Read

T = TypeVar("T")

Until = Literal["completed", "final"]
"""`completed`: the job has its result and is settled; `final`: it has ended in any way."""

FIRST_POLL_SECONDS: Final = 0.2
LONGEST_POLL_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 60.0
"""A stream says something at least every few seconds; one that is silent for this long is dead."""


def wait_for_job(
    job_id: str,
    *,
    until: Until = "completed",
    timeout: float = 300,
    on_change: Callable[[Job], None] | None = None,
) -> Flow[Job]:
    """Return the job once it has ended, in whatever way; `on_change` is told each new phase
    and each attempt that ended.

    Raises `WaitTimeoutError`, and `JobFailedError` where it was to complete and did not.
    """
    deadline, pause, said = time.monotonic() + timeout, FIRST_POLL_SECONDS, None
    while True:
        job = yield from get_job(job_id)
        stage = (job.status, job.phase, len(job.attempts or ()))
        if on_change is not None and stage != said:
            said = stage
            on_change(job)
        if job.is_over:
            break
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(f"{job.job_id} is still {job.status} ({job.phase})")
        yield Pause(min(pause, left))
        pause = min(LONGEST_POLL_SECONDS, pause * 1.3)
    if until == "completed" and job.status != "completed":
        fault = f": {job.fault} (reason {job.reason_code})" if job.reason_code else ""
        raise JobFailedError(f"{job.job_id} is {job.status}{fault}", job)
    return job


def iterate_pages(call: Call[Page[T]]) -> Flow[None]:
    """Emit each item of a list, asking for one page after the other."""
    while True:
        page = yield from call
        for item in page.items:
            yield Emit(item)
        if page.next_cursor is None:
            return
        if page.next_cursor == call.query.get("cursor"):
            raise InvalidAnswerError("the list does not go on: its cursor names the same page")
        call = replace(call, query={**call.query, "cursor": page.next_cursor, "offset": None})


def stream_job(job_id: str, *, offset: int = 0) -> Flow[None]:
    """Give a job's events as they happen: `status`, `delta` with a piece of text, `reset`, `done`.

    Begins after `offset` characters of the text and ends with the job. A connection that breaks is
    taken up again where it was.
    """
    path = f"/v1/jobs/{quote(job_id)}/stream"
    position = str(offset)
    attempts = Exchange[Any](Call("GET", path, str, is_repeatable=True), RetryPolicy())
    while True:
        try:
            headers = {"Last-Event-ID": position} if position != "0" else {}
            channel = yield OpenLines(path, headers, SILENCE_SECONDS)
            while (found := (yield from _read_event(channel))) is not None:
                event, identity = found
                attempts.on_progress()
                position = identity or position
                yield Emit(event)
                if event.event == "done":
                    return
            raise ConnectionFailedError("the stream ended before the job", is_sent=True)
        except AITBCError as error:
            delay = attempts.on_error(error, random.random())
        yield Pause(delay)


def _read_event(channel: Any) -> Flow[tuple[JobEvent, str | None] | None]:
    """Return the next event of a stream of events and its id; None at the stream's end."""
    name, data, identity = "message", list[str](), None
    while (line := (yield Read(channel))) is not None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                identity = value
            case "" if not line and data:
                try:
                    return JobEvent(event=name, data=json.loads("\n".join(data))), identity
                except (ValueError, RecursionError) as error:
                    raise InvalidAnswerError(f"not an event of a job: {error}") from None
    return None
