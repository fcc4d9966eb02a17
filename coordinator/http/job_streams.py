"""The client's view of a running job: server-sent events of its stages and of its text.

Events: `status` (another stage), `delta` (text that follows), `reset` (another attempt begins anew,
or the result differs: what came before is void), `done` (the job has ended). An event's id is the
number of characters up to it; `Last-Event-ID` goes on from there.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, NamedTuple

from aiohttp import web
from pydantic import Field

from coordinator import wire
from coordinator.coordinator import Coordinator
from coordinator.http.job_models import Parameters, QueryNumber
from coordinator.http.job_views import get_result_object
from coordinator.http.jobs import find_own
from coordinator.http.problems import Problem
from coordinator.http.routing import CLIENTS, Bucket, Call, Route
from coordinator.job_rows import JobRecord
from coordinator.phases import ENDED, Status
from coordinator.signals import job_topic
from coordinator.streams import MAX_TEXT

BEAT_SECONDS: Final = 15.0
"""A line that says nothing goes out so often, so that nobody in between cuts the connection."""
WRITE_SECONDS: Final = 30.0
"""A reader that takes nothing for so long is cut off."""
LONGEST_SECONDS: Final = 6 * 3_600.0
LOOK_SECONDS: Final = 0.5
"""While text comes, the job's row is looked at so often."""


class Event(NamedTuple):
    """Something to tell; a `beat` tells nothing."""

    name: str
    data: Any
    offset: int


class JobStreamQuery(Parameters):
    offset: Annotated[QueryNumber, Field(ge=0, le=MAX_TEXT)] = 0


async def stream_job(call: Call) -> web.StreamResponse:
    record = await find_own(call)
    follower = JobFollower(call.coordinator, record, _read_offset(call))
    streams = call.coordinator.streams
    if not streams.enter(call.caller.account_id):
        raise Problem(429, "this account reads as many streams as it may", "TOO_MANY_STREAMS")
    response = await open_events(call)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            async for event in follower.follow():
                if call.coordinator.keys.is_revoked(call.caller.key_id):
                    break
                await send_event(response, event)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        # The reader is gone or too slow: there is nobody to tell.
        response.force_close()
    finally:
        streams.leave(call.caller.account_id)
    return response


class JobFollower:
    """A job's events, from a place in its text until its end."""

    def __init__(self, coordinator: Coordinator, record: JobRecord, offset: int = 0) -> None:
        self._coordinator = coordinator
        self._job_id = record.job.job_id
        self._offset = offset
        self._sent: list[str] | None = [] if offset == 0 else None
        """What was told, where all of it was told here."""
        self._number: int | None = None
        self._told: dict[str, Any] | None = None
        self.record = record
        """As last looked at."""

    async def follow(self) -> AsyncGenerator[Event]:
        """Yield what happens; the last event is `done`."""
        loop = asyncio.get_running_loop()
        with self._coordinator.signals.listen(job_topic(self._job_id)) as listener:
            look_at, has_text = loop.time(), False
            while True:
                if not has_text or loop.time() >= look_at:
                    look_at = loop.time() + LOOK_SECONDS
                    for event in await self._tell_row():
                        yield event
                        if event.name == "done":
                            return
                has_text = False
                for event in self._tell_text():
                    has_text = True
                    yield event
                if not await listener.wait(BEAT_SECONDS):
                    yield Event("beat", None, self._offset)

    def _tell_text(self) -> list[Event]:
        text = self._coordinator.streams.get(self._job_id)
        if text is None:
            return []
        events = []
        if self._number not in (None, text.number):
            events.append(self._reset())
        self._number = text.number
        if len(text.text) > self._offset:
            events.append(self._add(text.text[self._offset :]))
        return events

    async def _tell_row(self) -> list[Event]:
        record = await self._coordinator.find_job(self._job_id)
        assert record is not None
        self.record = record
        job = record.job
        stage = {
            "job_id": wire.format_job_id(job.job_id),
            "status": job.status,
            "phase": job.phase,
            "progress": job.progress,
        }
        events = []
        if Status(job.status) in ENDED:
            events = self._tell_result(record)
            stage["reason_code"] = job.reason_code or None
            events.append(Event("done", stage, self._offset))
        elif stage != self._told:
            events.append(Event("status", stage, self._offset))
        self._told = stage
        return events

    def _tell_result(self, record: JobRecord) -> list[Event]:
        """Return what the result's text has beyond what was told."""
        result = get_result_object(record) if record.job.status == Status.COMPLETED.value else None
        text = result.get("text") if result is not None else None
        if not isinstance(text, str):
            return []
        sent = text[: self._offset] if self._sent is None else "".join(self._sent)
        events = [] if text.startswith(sent) else [self._reset()]
        if len(text) > self._offset:
            events.append(self._add(text[self._offset :]))
        return events

    def _add(self, piece: str) -> Event:
        self._offset += len(piece)
        if self._sent is not None:
            self._sent.append(piece)
        return Event("delta", {"delta": piece}, self._offset)

    def _reset(self) -> Event:
        self._offset, self._sent = 0, []
        return Event("reset", {}, 0)


async def open_events(call: Call, headers: dict[str, str] | None = None) -> web.StreamResponse:
    """Return a response of server-sent events that has begun."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Request-Id": call.request_id,
            **(headers or {}),
        }
    )
    await response.prepare(call.request)
    return response


async def send_event(response: web.StreamResponse, event: Event) -> None:
    """Write one event. Raises `TimeoutError` where the reader takes nothing."""
    lines = ": beat\n\n"
    if event.name != "beat":
        data = json.dumps(event.data, ensure_ascii=False)
        lines = f"event: {event.name}\nid: {event.offset}\ndata: {data}\n\n"
    await write_slowly(response, lines.encode())


async def write_slowly(response: web.StreamResponse, data: bytes) -> None:
    """Write as fast as the reader takes it. Raises `TimeoutError`, `ConnectionError`."""
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(data)


def _read_offset(call: Call) -> int:
    given = call.request.headers.get("Last-Event-ID", "")
    if given.isascii() and given.isdigit() and len(given) < 8:
        return min(int(given), MAX_TEXT)
    return call.get_query(JobStreamQuery).offset


ROUTES = (
    Route(
        "GET", "/v1/jobs/{job_id}/stream", stream_job, "Follow a job as server-sent events",
        "Jobs", roles=CLIENTS, query=JobStreamQuery, bucket=Bucket.POLLING,
        content_type="text/event-stream",
    ),
)  # fmt: skip
