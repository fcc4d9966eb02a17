"""The owner's job routes: submit, look, list, results, download, receipt, cancel."""

import json
from typing import Annotated, Any

import sqlalchemy as sa
from aiohttp import web
from pydantic import Field
from sqlalchemy import ColumnElement

from coordinator import job_files, job_rows, receipt_documents, submission, wallets, wire
from coordinator.http import ranges
from coordinator.http.files import send_file
from coordinator.http.job_models import (
    HistoryQuery,
    Job,
    JobContent,
    JobList,
    JobRequest,
    JobResults,
    JobsQuery,
    Strict,
)
from coordinator.http.job_posting import post_job
from coordinator.http.job_views import (
    find_chain_job,
    get_result_object,
    view_chain_job,
    view_job,
    view_with_entry,
)
from coordinator.http.listing import build_page
from coordinator.http.problems import Problem, invalid, not_found
from coordinator.http.receipt_models import SignedReceipt, SignedReceipts
from coordinator.http.routing import ANY_ROLE, CLIENTS, Answer, Bucket, Call, Route
from coordinator.job_rows import JOBS, JobRecord
from coordinator.phases import ENDED, Status
from coordinator.principals import Role
from ledger.entries import LEASE_STATES
from ledger.state import get_job


class CancelRequest(Strict):
    transaction: Annotated[str, Field(max_length=16_384)] | None = None


async def find_visible(call: Call) -> tuple[JobRecord, bool]:
    """Return the job in the path if the caller may see it, and whether it may see its content.

    The owner sees all, the leaseholder the prompt; to anybody else there is no such job.
    """
    job_id = wire.parse_id(call.path["job_id"], wire.JOB_PREFIX)
    if job_id is None:
        raise not_found()
    # Whoever saw a block at the explorer finds what it did here.
    await call.coordinator.wait_followed()
    record = await call.coordinator.find_job(job_id)
    if record is None:
        raise not_found()
    caller = call.caller
    if record.job.account_id == caller.account_id:
        return record, True
    entry = get_job(call.coordinator.chain.get_view(), job_id)
    lease = entry.lease if entry is not None else None
    if caller.role is Role.MINER and lease is not None and lease.payee == caller.address:
        assert entry is not None
        return record, entry.status in LEASE_STATES
    raise not_found()


async def find_own(call: Call) -> JobRecord:
    """Return the job in the path if it is the caller's."""
    record, _ = await find_visible(call)
    if record.job.account_id != call.caller.account_id:
        raise not_found()
    return record


async def get_job_route(call: Call) -> Answer:
    try:
        record, shows_content = await find_visible(call)
    except Problem:
        job_id = wire.parse_id(call.path["job_id"], wire.JOB_PREFIX)
        entry = None
        if job_id is not None:
            entry = find_chain_job(call.coordinator, job_id, call.caller.address)
        if job_id is None or entry is None:
            raise
        return Answer(view_chain_job(job_id, entry))
    return Answer(view_with_entry(call.coordinator, record, shows_content))


async def list_jobs(call: Call) -> Answer:
    return await _list(call, call.get_query(JobsQuery), [])


async def list_history(call: Call) -> Answer:
    query = call.get_query(HistoryQuery)
    conditions: list[ColumnElement[bool]] = []
    for text, is_end in ((query.start, False), (query.end, True)):
        if text is None:
            continue
        try:
            time_ms = wire.parse_time(text, is_end)
        except ValueError as error:
            raise invalid("/to" if is_end else "/from", str(error)) from None
        created = JOBS.c.created_ms
        conditions.append(created <= time_ms if is_end else created >= time_ms)
    return await _list(call, query, conditions)


async def _list(call: Call, query: JobsQuery, conditions: list[ColumnElement[bool]]) -> Answer:
    conditions = [*conditions, JOBS.c.account_id == call.caller.account_id]
    if query.status is not None:
        conditions.append(JOBS.c.status == query.status.value)
    if query.type is not None:
        conditions.append(sa.or_(JOBS.c.job_type == query.type, JOBS.c.service == query.type))
    before = None if query.cursor is None else int(query.cursor)
    page = await call.coordinator.storage.read(
        lambda connection: job_rows.list_jobs(
            connection, conditions, query.limit + 1, query.offset, before
        )
    )
    shown = page.records[: query.limit]
    items = [view_job(call.coordinator, record, True) for record in shown]
    last = shown[-1].job.row_id if shown else None
    rest = len(page.records) - len(shown)
    return Answer(build_page("jobs", items, page.total, query, last, rest))


def _require_result(record: JobRecord) -> dict[str, Any]:
    job = record.job
    if job.status != Status.COMPLETED.value:
        is_over = Status(job.status) in ENDED
        detail = f"the job {'ended as' if is_over else 'is'} {job.status}"
        raise Problem(409, detail, "JOB_NOT_COMPLETED", members={"phase": job.phase})
    result = get_result_object(record)
    if result is None and not job.is_content_erased:
        raise Problem(410, "the miner settled without handing its result in", "RESULT_WITHHELD")
    if result is None:
        raise Problem(410, "the result was deleted after its retention time", "RESULT_DELETED")
    return result


async def get_results(call: Call) -> Answer:
    record = await find_own(call)
    result = _require_result(record)
    assert record.content.result is not None
    given = json.loads(record.content.result)
    return Answer(
        JobResults(
            job_id=wire.format_job_id(record.job.job_id),
            status=Status.COMPLETED,
            results=result,
            result=given,
            completed_at=wire.format_optional_time(record.job.ended_ms),
        )
    )


async def get_content(call: Call) -> Answer:
    content = (await find_own(call)).load_content()
    if content is None:
        raise Problem(410, "the content was deleted after its retention time", "CONTENT_DELETED")
    return Answer(content)


async def download(call: Call) -> Answer | web.StreamResponse:
    record = await find_own(call)
    result = _require_result(record)
    assert record.receipt is not None
    file = await job_files.find_only_output(call.coordinator, record, result)
    if file is not None:
        return await send_file(call, file)
    tag = json.loads(record.receipt.document)["result_hash"]
    name, kind = wire.format_job_id(record.job.job_id), "application/json"
    text = result.get("text")
    if isinstance(text, str) and len(result) == 1:
        data, name, kind = text.encode(), name + ".txt", "text/plain; charset=utf-8"
    else:
        data, name = json.dumps(result, ensure_ascii=False).encode(), name + ".json"
    return ranges.answer_bytes(call.request, data, tag, name, kind)


async def get_receipt(call: Call) -> Answer:
    record = await find_own(call)
    if record.receipt is None or not record.receipt.is_final:
        raise Problem(409, "a receipt comes with the settlement", "JOB_NOT_COMPLETED")
    return Answer(receipt_documents.build_document(record.receipt))


async def list_job_receipts(call: Call) -> Answer:
    answer = await get_receipt(call)
    return Answer({"items": [answer.payload]})


async def cancel(call: Call) -> Answer:
    record = await find_own(call)
    body = call.body if isinstance(call.body, CancelRequest) else None
    signed = None
    if body is not None and body.transaction is not None and not call.caller.is_custodial:
        signed = wallets.decode_signed(body.transaction, call.coordinator.chain.chain_id)
    record = await submission.cancel_job(call.coordinator, call.caller, record, signed)
    job = view_job(call.coordinator, record, True)
    refund = record.job.end_tx or record.job.cancel_tx
    members = {
        **job.model_dump(mode="json"),
        "refund_tx": None if refund is None else wire.format_transaction_id(refund),
    }
    return Answer(members)


ROUTES = (
    Route(
        "POST", "/v1/jobs", post_job, "Submit a job and lock its escrow", "Jobs",
        roles=CLIENTS, body=JobRequest, answers={201: Job},
    ),
    Route(
        "GET", "/v1/jobs", list_jobs, "List one's own jobs", "Jobs",
        roles=CLIENTS, query=JobsQuery, answers={200: JobList}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/history", list_history, "List one's own jobs of a time", "Jobs",
        roles=CLIENTS, query=HistoryQuery, answers={200: JobList}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/{job_id}", get_job_route, "Get a job", "Jobs",
        roles=ANY_ROLE, answers={200: Job}, bucket=Bucket.POLLING,
    ),
    Route(
        "DELETE", "/v1/jobs/{job_id}", cancel, "Cancel a job", "Jobs",
        roles=CLIENTS, body=CancelRequest, is_body_optional=True, answers={200: Job},
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/cancel", cancel, "Cancel a job", "Jobs",
        roles=CLIENTS, body=CancelRequest, is_body_optional=True, answers={200: Job},
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/results", get_results, "Get a job's result", "Jobs",
        roles=CLIENTS, answers={200: JobResults}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/result", get_results, "Get a job's result", "Jobs",
        roles=CLIENTS, answers={200: JobResults}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/content", get_content, "Get what a job's miner was given", "Jobs",
        roles=CLIENTS, answers={200: JobContent}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/download", download, "Download a job's result", "Jobs",
        roles=CLIENTS, bucket=Bucket.POLLING, content_type="application/octet-stream",
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/receipt", get_receipt, "Get the signed receipt", "Jobs",
        roles=CLIENTS, answers={200: SignedReceipt}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/jobs/{job_id}/receipts", list_job_receipts, "List the signed receipt", "Jobs",
        roles=CLIENTS, answers={200: SignedReceipts}, bucket=Bucket.POLLING,
    ),
)  # fmt: skip
