"""The miner's text on its way in: one long request of lines, each a piece and the progress."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from coordinator import foreign_leasing, leasing
from coordinator.http.job_models import Parameters, QueryNumber, Shown
from coordinator.http.miner_jobs import find_any_job, resolve_miner
from coordinator.http.miner_models import MinerName
from coordinator.http.problems import Problem
from coordinator.http.routing import MINERS, Answer, Bucket, Call, Route
from coordinator.job_rows import JobRecord
from coordinator.phases import Phase
from coordinator.streams import MAX_TEXT, StreamGap, TextTooLong

MAX_LINE_BYTES: Final = 64 * 1024
LINES_AT_ONCE: Final = 100
"""Lines that are taken before others have their turn on the loop: short ones come by thousands."""
PROGRESS_SECONDS: Final = 1.0
"""How often the progress of the lines is written down."""
PASS_SECONDS: Final = 0.2
"""How often what came is passed on to the coordinator of the job."""


LAST_PASSES: Final = 8
"""Pieces of a long rest that are passed on at the end; the result has the whole."""


class StreamQuery(Parameters):
    miner_id: MinerName | None = None
    offset: Annotated[QueryNumber, Field(ge=0, le=MAX_TEXT)] = 0
    report_token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None


class StreamAnswer(Shown):
    length: int


class Line(msgspec.Struct, frozen=True):
    """One line of the body."""

    delta: str
    progress: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


async def take_stream(call: Call) -> Answer:
    """Take pieces until the body ends; what is here already is told in either answer."""
    query = call.get_query(StreamQuery)
    name = await resolve_miner(call, query.miner_id)
    record = await find_any_job(call)
    entry = leasing.require_lease(call.coordinator, call.caller, record.job.job_id, name)
    assert entry.lease is not None
    intake = _Intake(call, record, name, entry.lease.number, query.report_token)
    try:
        length = await intake.take(query.offset)
    except StreamGap as gap:
        raise Problem(
            409,
            f"{gap.length} characters are here: go on from there",
            "STREAM_GAP",
            members={"length": gap.length},
            headers={"Connection": "close"},
        ) from None
    except TextTooLong:
        raise Problem(
            413, f"a text has at most {MAX_TEXT} characters", headers={"Connection": "close"}
        ) from None
    return Answer(StreamAnswer(length=length))


class _Intake:
    """One request's pieces on their way to the readers, here or at the job's own coordinator."""

    def __init__(
        self, call: Call, record: JobRecord, name: str, number: int, token: str | None
    ) -> None:
        self._call = call
        self._record = record
        self._name = name
        self._number = number
        self._token = None if token is None else bytes.fromhex(token)
        self._progress = 0
        self._passed = 0

    async def take(self, offset: int) -> int:
        coordinator, record = self._call.coordinator, self._record
        job_id = record.job.job_id
        length = coordinator.streams.append(job_id, self._number, offset, "")
        if offset < length:
            raise StreamGap(length)
        loop = asyncio.get_running_loop()
        pause = PROGRESS_SECONDS if record.home is None else PASS_SECONDS
        due = loop.time() + pause
        async for line in read_lines(self._call.request):
            self._progress = max(self._progress, line.progress)
            leasing.require_lease(coordinator, self._call.caller, job_id, self._name)
            length = coordinator.streams.append(job_id, self._number, length, line.delta)
            if loop.time() >= due:
                await self._note(length)
                due = loop.time() + pause
        if length > offset:
            await self._note(length)
            for _ in range(LAST_PASSES):
                if record.home is None or self._passed >= length:
                    break
                await self._note(length)
        return length

    async def _note(self, length: int) -> None:
        """Write the progress down, or pass it on with the text that came since."""
        coordinator, record = self._call.coordinator, self._record
        if record.home is None:
            await leasing.report_progress(
                coordinator, self._call.caller, record, self._name, self._progress, Phase.RUNNING
            )
            return
        text = coordinator.streams.get(record.job.job_id)
        piece = "" if text is None else text.text[self._passed : length]
        progress = await foreign_leasing.build_progress(
            coordinator, self._call.caller, record, self._token, self._progress, Phase.RUNNING,
            self._passed, piece,
        )  # fmt: skip
        if progress is not None:
            self._passed = await foreign_leasing.pass_text(
                coordinator, record, self._number, progress, self._passed
            )


async def read_lines(request: web.Request) -> AsyncIterator[Line]:
    """Yield the body's lines as they come. Raises `Problem` (400, 413)."""
    waiting = bytearray()
    try:
        async for chunk in request.content.iter_any():
            waiting += chunk
            *lines, rest = waiting.split(b"\n")
            waiting = bytearray(rest)
            for number, line in enumerate(lines):
                if line:
                    yield read_line(bytes(line))
                if number % LINES_AT_ONCE == LINES_AT_ONCE - 1:
                    await asyncio.sleep(0)
            if len(waiting) > MAX_LINE_BYTES:
                raise Problem(413, f"a line has at most {MAX_LINE_BYTES} bytes")
    except (
        web.RequestPayloadError, ClientPayloadError, HttpProcessingError, ConnectionError,
    ):  # fmt: skip
        # The miner is gone or comes again with the rest; what came is here.
        return
    if waiting:
        yield read_line(bytes(waiting))


def read_line(line: bytes) -> Line:
    """Return a line of the body. Raises `Problem` (400, 413)."""
    if len(line) > MAX_LINE_BYTES:
        raise Problem(413, f"a line has at most {MAX_LINE_BYTES} bytes")
    try:
        read = msgspec.json.decode(line, type=Line)
        read.delta.encode()
    except (msgspec.DecodeError, ValueError) as error:
        raise Problem(
            400, f"not a line of a stream: {error}", "MALFORMED_JSON",
            headers={"Connection": "close"},
        ) from None  # fmt: skip
    return read


ROUTES = (
    Route(
        "POST", "/v1/jobs/{job_id}/stream", take_stream, "Send a leased job's text as it grows",
        "Miners", roles=MINERS, query=StreamQuery, answers={200: StreamAnswer},
        bucket=Bucket.POLLING, reads_own_body=True, works_behind=True,
        body_type="application/x-ndjson", is_routine=True,
    ),
)  # fmt: skip
