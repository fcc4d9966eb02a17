"""Decides how each call of the HTTP contract is written and read: method, path, body, answer.

Pure: the clients of aitbc/client.py turn every builder here into a method of the same signature.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from aitbc.errors import InvalidAnswerError
from aitbc.models import (
    Account,
    ChainStatus,
    ClaimedJob,
    Heartbeat,
    Job,
    Miner,
    MinerStats,
    Model,
    Page,
    Receipt,
    Submission,
    TransactionStatus,
    Verdict,
    read_page,
)
from aitbc.transport import Call

M = TypeVar("M", bound=Model)

JSON = Mapping[str, Any]


def create_job(
    job: JSON | None = None, *, idempotency_key: str | None = None, **members: Any
) -> Call[Job]:
    """Submit a job, given as one mapping or as keywords; the answer comes before it is queued."""
    return _post("/v1/jobs", {**(job or {}), **members}, Job, _new_key(idempotency_key))


def get_job(job_id: str) -> Call[Job]:
    """Return a job."""
    return _get(f"/v1/jobs/{_quote(job_id)}", Job)


def list_jobs(
    *,
    status: str | None = None,
    type: str | None = None,
    limit: int = 50,
    offset: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """Return a page of one's own jobs, newest first."""
    query = {"status": status, "type": type, "limit": limit, "offset": offset, "cursor": cursor}
    return _list("/v1/jobs", query, "jobs", Job)


def get_job_history(
    *,
    from_: str | None = None,
    to: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page]:
    """Return a page of one's finished jobs; bounds are dates (inclusive) or date-times."""
    query = {"from": from_, "to": to, "limit": limit, "cursor": cursor}
    return _list("/v1/jobs/history", query, "jobs", Job)


def get_results(job_id: str) -> Call[Any]:
    """Return a completed job's result. Raises `JobNotCompletedError` before the end."""
    return Call("GET", f"/v1/jobs/{_quote(job_id)}/results", _as_is, is_repeatable=True)


def download(job_id: str) -> Call[bytes]:
    """Return a completed job's result as bytes."""
    path = f"/v1/jobs/{_quote(job_id)}/download"
    return Call("GET", path, _as_bytes, is_repeatable=True, is_binary=True)


def get_job_receipt(job_id: str) -> Call[Receipt]:
    """Return the receipt of a completed job: exactly what was signed, and the signature."""
    return _get(f"/v1/jobs/{_quote(job_id)}/receipt", Receipt)


def cancel_job(job_id: str) -> Call[Job]:
    """Cancel a job; repeating it is harmless."""
    return Call("DELETE", f"/v1/jobs/{_quote(job_id)}", _read(Job), is_repeatable=True)


def get_available_job(miner_id: str, *, wait: int = 0) -> Call[Job | None]:
    """Return a job that this miner could claim, waiting up to `wait` seconds for one."""
    return Call(
        "GET",
        "/v1/jobs/available",
        lambda value: None if value is None else _read(Job)(value),
        query={"miner_id": miner_id, "wait": wait},
        is_repeatable=True,
        timeout=wait + 15,
    )


def claim_job(job_id: str, miner_id: str, *, transaction: str | None = None) -> Call[ClaimedJob]:
    """Claim a job; answers once the claim is final. Raises `JobAlreadyClaimedError`.

    `transaction` is the signed `JobClaim` in hex, of a miner that keeps its own key. The same
    claim sent twice is one claim, so it is repeated after a lost answer.
    """
    body = _drop_nulls({"miner_id": miner_id, "transaction": transaction})
    return _post(
        f"/v1/jobs/{_quote(job_id)}/claim",
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
    partial: str | None = None,
    report_token: str | None = None,
) -> Call[Heartbeat]:
    """Say that the job is being worked on: progress 0 to 100, and the text so far.

    `report_token` came with the sealed content of another coordinator's job.
    """
    body = {
        "miner_id": miner_id,
        "progress": progress,
        "phase": phase,
        "partial": partial,
        "report_token": report_token,
    }
    path = f"/v1/jobs/{_quote(job_id)}/heartbeat"
    return _post(path, _drop_nulls(body), Heartbeat, is_repeatable=True)


def complete_job(job_id: str, report: JSON) -> Call[Receipt]:
    """Hand in a job's result with its receipt and settlement; repeating it is harmless."""
    path = f"/v1/jobs/{_quote(job_id)}/complete"
    return _post(path, dict(report), Receipt, is_repeatable=True)


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
    path = f"/v1/jobs/{_quote(job_id)}/fail"
    return Call("POST", path, _as_is, body=_drop_nulls(body), is_repeatable=True)


def register_miner(miner: JSON | None = None, **members: Any) -> Call[Miner]:
    """Register a miner; again with the same content is harmless."""
    body = {**(miner or {}), **members}
    return _post("/v1/miners/register", body, Miner, is_repeatable=True)


def get_miner(miner_id: str) -> Call[Miner]:
    """Return a miner."""
    return _get(f"/v1/miners/{_quote(miner_id)}", Miner)


def get_miner_stats(miner_id: str) -> Call[MinerStats]:
    """Return a miner's figures, computed from the chain."""
    return _get(f"/v1/miners/{_quote(miner_id)}/stats", MinerStats)


def get_miner_earnings(miner_id: str, *, limit: int = 50, cursor: str | None = None) -> Call[Page]:
    """Return a page of a miner's earnings, each with its receipt, transaction and height."""
    path = f"/v1/miners/{_quote(miner_id)}/earnings"
    return _list(path, {"limit": limit, "cursor": cursor}, "earnings", Model)


def list_receipts(
    *,
    client: str | None = None,
    provider: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Call[Page]:
    """Return a page of the receipts that one may see."""
    query = {"client": client, "provider": provider, "limit": limit, "cursor": cursor}
    return _list("/v1/receipts", query, "receipts", Receipt)


def get_receipt(receipt_id: str) -> Call[Receipt]:
    """Return a receipt by its own or its job's id."""
    return _get(f"/v1/receipts/{_quote(receipt_id)}", Receipt)


def get_receipt_bundle(receipt_id: str) -> Call[Any]:
    """Return the document that verifies a settled receipt without a network, to be kept as it is.

    Raises `JobNotCompletedError` before the settlement is final.
    """
    path = f"/v1/receipts/{_quote(receipt_id)}"
    return Call("GET", path, _as_is, query={"bundle": 1}, is_repeatable=True)


def get_receipt_opening(receipt_id: str) -> Call[Any]:
    """Return what a settled receipt's commitments hide, for its owner to show to an auditor.

    Raises `JobNotCompletedError` before the settlement is final.
    """
    path = f"/v1/receipts/{_quote(receipt_id)}/opening"
    return Call("GET", path, _as_is, is_repeatable=True)


def verify_receipt(receipt: JSON) -> Call[Verdict]:
    """Have the node check a receipt's signature, proof and inclusion."""
    return _post("/v1/receipts/verify", {"receipt": dict(receipt)}, Verdict, is_repeatable=True)


def get_chain_status() -> Call[ChainStatus]:
    """Return the node's height, finality and peers."""
    return _get("/v1/chain/status", ChainStatus)


def list_validators() -> Call[Any]:
    """Return the authorities in force."""
    return Call("GET", "/v1/chain/validators", _as_is, is_repeatable=True)


def list_peers() -> Call[Any]:
    """Return the nodes that this one is connected to."""
    return Call("GET", "/v1/chain/peers", _as_is, is_repeatable=True)


def list_successions(epoch: int = 0) -> Call[Any]:
    """Return how the authority sets followed each other from an epoch on, the oldest first."""
    path = "/v1/chain/successions"
    return Call("GET", path, _as_is, query={"epoch": epoch}, is_repeatable=True)


def send_transactions(transactions: Sequence[str]) -> Call[list[Submission]]:
    """Send signed transactions (hex) to the mempool; one verdict each, in order.

    A transaction's id is its content, so sending it again is harmless.
    """
    return Call(
        "POST",
        "/v1/transactions",
        _read_submissions,
        body=list(transactions),
        is_repeatable=True,
    )


def get_transaction(transaction_id: str) -> Call[TransactionStatus]:
    """Return where a transaction stands: waiting, or in which block with what outcome."""
    return _get(f"/v1/transactions/{_quote(transaction_id)}", TransactionStatus)


def get_account(address: str) -> Call[Account]:
    """Return an account's balance, nonce and pending nonce."""
    return _get(f"/v1/accounts/{_quote(address)}", Account)


def list_blocks(*, limit: int = 10, before: int | None = None) -> Call[list[Model]]:
    """Return the latest final blocks, or those before a height."""
    return _bare_list("/explorer/blocks", {"limit": limit, "before": before})


def get_block(block: int | str) -> Call[Model]:
    """Return a block by height or hash."""
    return _get(f"/explorer/blocks/{_quote(str(block))}", Model)


def list_transactions(*, limit: int = 10) -> Call[list[Model]]:
    """Return the latest final transactions."""
    return _bare_list("/explorer/transactions", {"limit": limit})


def list_settlements(*, limit: int = 10) -> Call[list[Model]]:
    """Return the latest receipts as the chain knows them: commitments, never contents."""
    return _bare_list("/explorer/receipts", {"limit": limit})


def get_explorer_stats() -> Call[Model]:
    """Return the network's totals."""
    return _get("/explorer/stats", Model)


def get_chain_job(job_id: str) -> Call[Model]:
    """Return a job as the chain's state holds it, with its inclusion proof."""
    return _get(f"/explorer/jobs/{_quote(job_id)}", Model)


def get_chain_miner(miner_id: str) -> Call[Model]:
    """Return a miner as the chain's state holds it, with its claims and inclusion proof."""
    return _get(f"/explorer/miners/{_quote(miner_id)}", Model)


def get_chain_account(address: str) -> Call[Model]:
    """Return an account as the chain's state holds it, with its inclusion proof."""
    return _get(f"/explorer/accounts/{_quote(address)}", Model)


def search_chain(text: str) -> Call[Any]:
    """Return what a height, hash, address, job or miner name belongs to."""
    return Call("GET", "/explorer/search", _as_is, query={"q": text}, is_repeatable=True)


def audit_supply(*, height: int | None = None) -> Call[Model]:
    """Return the supply equation at a height: balances, escrows and bonds against the supply."""
    query = {"height": height}
    return Call("GET", "/v1/audit/supply", _read(Model), query=query, is_repeatable=True)


def _get(path: str, kind: type[M]) -> Call[M]:
    return Call("GET", path, _read(kind), is_repeatable=True)


def _post(
    path: str,
    body: object,
    kind: type[M],
    idempotency_key: str | None = None,
    is_repeatable: bool = False,
) -> Call[M]:
    return Call(
        "POST",
        path,
        _read(kind),
        body=body,
        idempotency_key=idempotency_key,
        is_repeatable=is_repeatable or idempotency_key is not None,
    )


def _list(path: str, query: Mapping[str, Any], member: str, kind: type[Model]) -> Call[Page]:
    return Call(
        "GET",
        path,
        lambda value: read_page(value, member, kind),
        query=query,
        is_repeatable=True,
    )


def _bare_list(path: str, query: Mapping[str, Any]) -> Call[list[Model]]:
    def parse(value: Any) -> list[Model]:
        return [_read(Model)(item) for item in _check_list(value)]

    return Call("GET", path, parse, query=query, is_repeatable=True)


def _read(kind: type[M]) -> Callable[[Any], M]:
    return kind.model_validate


def _read_submissions(value: Any) -> list[Submission]:
    return [Submission.model_validate(item) for item in _check_list(value)]


def _check_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidAnswerError("a list was expected")
    return value


def _as_is(value: Any) -> Any:
    return value


def _as_bytes(value: Any) -> bytes:
    return bytes(value)


def _quote(part: str) -> str:
    return quote(part, safe="")


def _drop_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _new_key(given: str | None) -> str:
    return given if given is not None else secrets.token_hex(16)
