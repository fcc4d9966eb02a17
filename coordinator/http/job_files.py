"""A job's files as its miner sees them: sources to read, results to store, under the lease."""

from collections.abc import AsyncIterator
from typing import Annotated

from aiohttp import web
from pydantic import Field

from coordinator import job_files, leasing, wire
from coordinator.http.files import FileShown, send_file, take_upload, view_file
from coordinator.http.job_models import Parameters
from coordinator.http.miner_jobs import resolve_miner
from coordinator.http.miner_models import MinerName
from coordinator.http.problems import Problem, not_found
from coordinator.http.routing import MINERS, Answer, Bucket, Call, Route
from coordinator.job_rows import JobRecord
from coordinator.tables import FileRow


class JobFileQuery(Parameters):
    miner_id: MinerName | None = None
    report_token: Annotated[str, Field(max_length=64)] | None = None


async def read_source(call: Call) -> web.StreamResponse:
    record, _ = await _find_leased(call)
    row = await job_files.find_source(call.coordinator, record, call.path["file_id"])
    if row is None:
        raise not_found("file")
    return await send_file(call, row)


async def store_result(call: Call) -> Answer:
    record, miner = await _find_leased(call)

    async def save(name: str, kind: str, chunks: AsyncIterator[bytes]) -> FileRow:
        pieces = _read_leased(call, record, miner, chunks)
        return await job_files.save_output(call.coordinator, record, name, kind, pieces)

    try:
        row = await take_upload(call, save)
    except job_files.TooManyOutputs:
        limit = call.coordinator.settings.maximum_file_bytes
        raise Problem(
            413,
            f"a job's result is at most {job_files.MAX_OUTPUTS} files and {limit} bytes",
            "RESULT_TOO_LARGE",
            headers={"Connection": "close"},
        ) from None
    return Answer(view_file(row), 201)


async def _read_leased(
    call: Call, record: JobRecord, miner: str, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the pieces of a file for as long as the lease is held. Raises `Rejected`."""
    async for chunk in chunks:
        yield chunk
        leasing.require_lease(call.coordinator, call.caller, record.job.job_id, miner)


async def _find_leased(call: Call) -> tuple[JobRecord, str]:
    """Return the job in the path, and the miner that holds its lease now. Raises `Problem`."""
    query = call.get_query(JobFileQuery)
    job_id = wire.parse_id(call.path["job_id"], wire.JOB_PREFIX)
    record = None if job_id is None else await call.coordinator.find_job(job_id)
    if record is None:
        raise not_found()
    name = await resolve_miner(call, query.miner_id)
    leasing.require_lease(call.coordinator, call.caller, record.job.job_id, name)
    return record, name


ROUTES = (
    Route(
        "GET", "/v1/jobs/{job_id}/files/{file_id}", read_source, "Read a source of a leased job",
        "Miners", roles=MINERS, query=JobFileQuery, bucket=Bucket.POLLING,
        content_type="application/octet-stream",
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/files", store_result, "Store a result of a leased job",
        "Miners", roles=MINERS, query=JobFileQuery, answers={201: FileShown},
        bucket=Bucket.POLLING, reads_own_body=True, works_behind=True,
    ),
)  # fmt: skip
