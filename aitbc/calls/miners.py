"""How the calls of miners are written: register, take work, report on it, read what it earned."""

from typing import Any

from aitbc.calls.common import JSON, as_is, drop_nulls, get, get_page, post, quote
from aitbc.models import ClaimedJob, Heartbeat, Job, Miner, MinerStats, Model, Page, Receipt
from aitbc.steps import Call


def get_available_job(miner_id: str, *, wait: int = 0) -> Call[Job | None]:
    """Return a job that this miner could claim, waiting up to `wait` seconds for one."""
    return Call(
        "GET",
        "/v1/jobs/available",
        lambda value: None if value is None else Job.model_validate(value),
        query={"miner_id": miner_id, "wait": wait},
        is_repeatable=True,
        timeout=wait + 15,
    )


def claim_job(job_id: str, miner_id: str, *, transaction: str | None = None) -> Call[ClaimedJob]:
    """Claim a job; answers once the claim is final. Raises `JobAlreadyClaimedError`.

    `transaction` is the signed `JobClaim` in hex, of a miner that keeps its own key. The same
    claim sent twice is one claim, so it is repeated after a lost answer.
    """
    body = drop_nulls({"miner_id": miner_id, "transaction": transaction})
    return post(
        f"/v1/jobs/{quote(job_id)}/claim",
        body,
        ClaimedJob,
        is_repeatable=transaction is not None,
    )


def send_job_heartbeat(
    job_id: str,
    miner_id: str,
    *,
    progress: int,
    phase: str | None = None,
    report_token: str | None = None,
) -> Call[Heartbeat]:
    """Say that the job is being worked on: progress 0 to 100.

    `report_token` came with the sealed content of another coordinator's job.
    """
    body = {
        "miner_id": miner_id,
        "progress": progress,
        "phase": phase,
        "report_token": report_token,
    }
    path = f"/v1/jobs/{quote(job_id)}/heartbeat"
    return post(path, drop_nulls(body), Heartbeat, is_repeatable=True)


def complete_job(job_id: str, report: JSON) -> Call[Receipt]:
    """Hand in a job's result with its receipt and settlement; repeating it is harmless."""
    return post(f"/v1/jobs/{quote(job_id)}/complete", dict(report), Receipt, is_repeatable=True)


def fail_job(
    job_id: str,
    miner_id: str,
    *,
    reason_code: int,
    detail: str | None = None,
    transaction: str | None = None,
) -> Call[Any]:
    """Give a lease back with a reason; `transaction` is the signed `JobFail` in hex."""
    body = {
        "miner_id": miner_id,
        "reason_code": reason_code,
        "detail": detail,
        "transaction": transaction,
    }
    path = f"/v1/jobs/{quote(job_id)}/fail"
    return Call("POST", path, as_is, body=drop_nulls(body), is_repeatable=True)


def register_miner(miner: JSON | None = None, **members: Any) -> Call[Miner]:
    """Register a miner; again with the same content is harmless."""
    body = {**(miner or {}), **members}
    return post("/v1/miners/register", body, Miner, is_repeatable=True)


def get_miner(miner_id: str) -> Call[Miner]:
    """Return a miner."""
    return get(f"/v1/miners/{quote(miner_id)}", Miner)


def get_miner_stats(miner_id: str) -> Call[MinerStats]:
    """Return a miner's figures, computed from the chain."""
    return get(f"/v1/miners/{quote(miner_id)}/stats", MinerStats)


def list_miner_earnings(
    miner_id: str, *, limit: int = 50, cursor: str | None = None
) -> Call[Page[Model]]:
    """Return a page of a miner's earnings, each with its receipt, transaction and height."""
    query = {"limit": limit, "cursor": cursor}
    return get_page(f"/v1/miners/{quote(miner_id)}/earnings", query, "earnings", Model)
