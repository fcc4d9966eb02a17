"""How a client's job calls are written: submit, look, list, read, download, cancel."""

from pathlib import Path
from typing import Any

from aitbc.calls.common import (
    JSON,
    as_is,
    choose_key,
    drop_nulls,
    get,
    get_page,
    get_value,
    post,
    quote,
)
from aitbc.models import Job, Page, Receipt
from aitbc.steps import Call


def create_job(
    job: JSON | None = None, *, idempotency_key: str | None = None, **members: Any
) -> Call[Job]:
    """Submit a job, given as one mapping or as keywords; the answer comes before it is queued.

    The same `idempotency_key` twice is the same job, paid once; without it each call is a new one.
    """
    return post("/v1/jobs", {**(job or {}), **members}, Job, choose_key(idempotency_key))


def get_job(job_id: str) -> Call[Job]:
    """Return a job."""
    return get(f"/v1/jobs/{quote(job_id)}", Job)


def list_jobs(
    *,
    status: str | None = None,
    type: str | None = None,
    limit: int = 50,
    offset: int | None = None,
    cursor: str | None = None,
) -> Call[Page[Job]]:
    """Return a page of one's own jobs, newest first."""
    query = {"status": status, "type": type, "limit": limit, "offset": offset, "cursor": cursor}
    return get_page("/v1/jobs", query, "jobs", Job)


def list_job_history(
    *,
    from_: str | None = None,
    to: str | None = None,
    status: str | None = None,
    type: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[Job]]:
    """Return a page of one's jobs of a time; bounds are dates (inclusive) or date-times."""
    query = {
        "from": from_,
        "to": to,
        "status": status,
        "type": type,
        "limit": limit,
        "cursor": cursor,
    }
    return get_page("/v1/jobs/history", query, "jobs", Job)


def get_results(job_id: str) -> Call[Any]:
    """Return a completed job's result. Raises `JobNotCompletedError` before the end."""
    return get_value(f"/v1/jobs/{quote(job_id)}/results")


def get_content(job_id: str) -> Call[dict[str, Any]]:
    """Return what the job's miner was given: `service`, `model`, `input` and `params`."""
    return get_value(f"/v1/jobs/{quote(job_id)}/content")


def download_result(job_id: str) -> Call[bytes]:
    """Return a completed job's result as bytes."""
    return Call("GET", _get_download(job_id), as_is, is_repeatable=True, is_binary=True)


def download_result_to(job_id: str, path: str | Path) -> Call[Path]:
    """Write a completed job's result to a file, whatever its size; return its path."""
    return Call(
        "GET", _get_download(job_id), as_is, is_repeatable=True, is_binary=True, target=Path(path)
    )


def get_job_receipt(job_id: str) -> Call[Receipt]:
    """Return the receipt of a completed job: exactly what was signed, and the signature."""
    return get(f"/v1/jobs/{quote(job_id)}/receipt", Receipt)


def cancel_job(job_id: str, *, transaction: str | None = None) -> Call[Job]:
    """Cancel a job; repeating it is harmless.

    `transaction` is the signed `JobCancel` in hex, of an account that keeps its own key.
    """
    body = drop_nulls({"transaction": transaction}) or None
    path = f"/v1/jobs/{quote(job_id)}"
    return Call("DELETE", path, Job.model_validate, body=body, is_repeatable=True)


def _get_download(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id)}/download"
