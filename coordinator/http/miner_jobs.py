"""The miner's job routes: what is there, claim, heartbeat, complete, give back."""

import base64
import json
from typing import Any, Final

from msgspec import UNSET
from pydantic import TypeAdapter, ValidationError

from coordinator import (
    acceptances,
    claiming,
    completion,
    foreign_completion,
    foreign_leasing,
    job_files,
    job_terms,
    leasing,
    matching,
    offering,
    wallets,
    wire,
)
from coordinator.claiming import Lease
from coordinator.foreign_content import ContentPending
from coordinator.http.authentication import read_key
from coordinator.http.job_models import MaybeJob
from coordinator.http.job_views import view_job, view_with_entry
from coordinator.http.miner_models import (
    AvailableQuery,
    Claimed,
    ClaimRequest,
    Failed,
    HeartbeatAnswer,
    JobFailure,
    JobHeartbeat,
    JobResult,
    LeaseShown,
    MinerName,
)
from coordinator.http.problems import Problem, invalid, not_found
from coordinator.http.receipt_models import Receipt
from coordinator.http.receipt_views import view_receipt
from coordinator.http.routing import MINERS, Answer, Bucket, Call, Route
from coordinator.job_rows import JobRecord
from coordinator.ports import Unreachable
from coordinator.receipt_documents import Ran
from coordinator.receipt_rows import UNNAMED_ENGINE, BadCompletion, Completion
from coordinator.relay import HomeRefused
from coordinator.sql import get_table
from coordinator.tables import WorkerRow
from ledger import terms
from ledger.crypto import format_address
from ledger.entries import JobStatus
from ledger.faults import Reason
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job, get_miner
from ledger.transactions import VerifiedTransaction

MINER_HEADER: Final = "X-Miner-ID"
_MINER_NAME: Final = TypeAdapter[str](MinerName)


async def resolve_miner(call: Call, name: str | None) -> str:
    """Return the miner that a request speaks for: the one it names, or the account's only one."""
    named = read_miner_name(call, name)
    if named is not None:
        return named
    names = await list_miners(call)
    if len(names) != 1:
        raise invalid("/miner_id", "name the miner: this account has not exactly one")
    return names[0]


def read_miner_name(call: Call, name: str | None) -> str | None:
    """Return the miner that the body or query names, or else the header. Raises `Problem(422)`.

    Workers of the older network put their key into that header; a miner's name is public.
    """
    if name is None:
        name = call.request.query.get("miner_id", call.request.headers.get(MINER_HEADER))
        if not name or name == read_key(call.request):
            return None
        try:
            return _MINER_NAME.validate_python(name)
        except ValidationError as error:
            raise invalid("/miner_id", error.errors()[0]["msg"]) from None
    return name


async def list_miners(call: Call) -> list[str]:
    """Return the names of the account's first two miners."""
    workers = get_table(WorkerRow)
    statement = workers.select().where(workers.c.account_id == call.caller.account_id).limit(2)
    rows = await call.coordinator.storage.read(
        lambda connection: connection.execute(statement).mappings().all()
    )
    return [row["miner"] for row in rows]


async def find_any_job(call: Call) -> JobRecord:
    """Return the job in the path, whoever's it is and wherever its content is.

    For a miner, before the lease is checked.
    """
    job_id = wire.parse_id(call.path["job_id"], wire.JOB_PREFIX)
    record = None
    if job_id is not None:
        record = await call.coordinator.find_job(job_id)
        if record is None:
            record = await foreign_leasing.find_record(call.coordinator, job_id)
    if record is None:
        raise not_found()
    return record


def read_signed(call: Call, text: str | None) -> VerifiedTransaction | None:
    """Return the signed transaction of a request; a custodial account's is not looked at."""
    if text is None or call.caller.is_custodial:
        return None
    return wallets.decode_signed(text, call.coordinator.chain.chain_id)


async def get_available(call: Call) -> Answer:
    query = call.get_query(AvailableQuery)
    name = await resolve_miner(call, query.miner_id)
    record = await offering.find_available(call.coordinator, call.caller, name, query.wait)
    return Answer(None if record is None else view_with_entry(call.coordinator, record, False))


async def claim(call: Call) -> Answer:
    body = call.get_body(ClaimRequest)
    name = await resolve_miner(call, body.miner_id)
    record = await find_any_job(call)
    lease = await claim_lease(call, record, name, read_signed(call, body.transaction))
    return Answer(view_lease(call, lease))


async def claim_lease(
    call: Call,
    record: JobRecord,
    name: str,
    signed: VerifiedTransaction | None,
    *,
    is_new: bool = False,
) -> Lease:
    """Claim a job; what is not decided in time is a 503 that says when to ask again.

    `is_new`: a lease that the miner holds already is refused.
    """
    claim = claiming.claim_job
    try:
        if record.home is not None:
            claim = foreign_leasing.claim_job
            record = await foreign_leasing.describe_record(call.coordinator, record)
        if not _may_know(call, record, name):
            raise not_found()
        return await claim(call.coordinator, call.caller, record, name, signed, is_new=is_new)
    except claiming.ClaimPending:
        raise later("the claim is not final yet; repeat it", "CLAIM_PENDING") from None
    except ContentPending:
        raise later(
            "the job's content is on its way; repeat the claim", "CONTENT_PENDING"
        ) from None
    except (Unreachable, HomeRefused) as error:
        raise home_unreachable(record, error) from None


def later(detail: str, code: str) -> Problem:
    """Return the 503 for what the same request may get soon."""
    return Problem(503, detail, code, headers={"Retry-After": "1"})


def home_unreachable(record: JobRecord, error: Exception) -> Problem:
    """Return the 503 for a job whose own coordinator does not answer, and names that one."""
    assert record.home is not None
    return Problem(
        503,
        "the coordinator that holds the job does not answer; repeat the request",
        "COORDINATOR_UNREACHABLE",
        members={"coordinator": format_address(record.home), "reason": str(error)},
        headers={"Retry-After": "1"},
    )


def _may_know(call: Call, record: JobRecord, name: str) -> bool:
    """A miner may name the jobs that it could have been offered; of others it learns nothing."""
    miner = get_miner(call.coordinator.chain.get_view(), name)
    if miner is None or miner.owner != call.caller.address:
        raise Rejected(Rejection.MINER_UNKNOWN)
    if record.home is not None and record.job.chain_status != JobStatus.QUEUED:
        return True
    entry = get_job(call.coordinator.chain.get_view(), record.job.job_id)
    price = acceptances.get_price(entry, name)
    return offering.is_suited(record.job, matching.read_announcement(miner.metadata), price)


def view_lease(call: Call, lease: Lease) -> dict[str, Any]:
    """Return a lease with the content and the terms, sealed to a miner that holds its own key."""
    record = lease.record
    job = record.job
    assert job.miner is not None and job.claim_number is not None and job.claimed_ms is not None
    opening = job_terms.get_terms(job)
    shown = Claimed(
        job=view_job(call.coordinator, record, True),
        content=record.load_content(),
        lease=LeaseShown(
            miner_id=job.miner,
            number=job.claim_number,
            claimed_at_ms=job.claimed_ms,
            ends_at_ms=lease.ends_at,
            heartbeat_seconds=call.coordinator.settings.heartbeat_seconds,
            head_ms=call.coordinator.chain.get_head().time,
        ),
        requirements=json.loads(job.requirements),
    )
    members: dict[str, Any] = shown.model_dump(mode="json")
    if record.home is not None and not call.caller.is_custodial:
        sealed = lease.sealed
        boxes = [] if sealed is None else [base64.b64encode(box).decode() for box in sealed.boxes]
        members["content_sealed"] = boxes or None
        members["terms_sealed"] = None if sealed is None else sealed.terms
    elif call.caller.is_custodial:
        members["terms"] = terms.write_opening(opening)
    else:
        members["terms_sealed"] = job_terms.seal_terms(opening, lease.miner.encryption_key)
    return members


async def heartbeat(call: Call) -> Answer:
    body = call.get_body(JobHeartbeat)
    name = await resolve_miner(call, body.miner_id)
    record = await find_any_job(call)
    if record.home is not None:
        return await _pass_on(call, record, name, body)
    job, ends_at = await leasing.report_progress(
        call.coordinator, call.caller, record, name, body.progress, body.reported_phase
    )  # fmt: skip
    return Answer(
        HeartbeatAnswer(
            status=job.status,
            cancel_requested=job.cancel_requested_ms is not None,
            lease_ends_at_ms=ends_at,
        )
    )


async def _pass_on(call: Call, record: JobRecord, name: str, body: JobHeartbeat) -> Answer:
    token = None if body.report_token is None else bytes.fromhex(body.report_token)
    progress = await foreign_leasing.build_progress(
        call.coordinator, call.caller, record, token, body.progress, body.reported_phase
    )  # fmt: skip
    is_cancelling, ends_at = await foreign_leasing.report_progress(
        call.coordinator, call.caller, record, name, progress
    )
    return Answer(
        HeartbeatAnswer(
            status=record.job.status, cancel_requested=is_cancelling, lease_ends_at_ms=ends_at
        )
    )


async def complete(call: Call) -> Answer:
    body = call.get_body(JobResult)
    name = await resolve_miner(call, body.miner_id)
    completed_ms = body.completed_ms
    if completed_ms is None and body.completed_at is not None:
        try:
            completed_ms = wire.parse_time(body.completed_at)
        except ValueError as error:
            raise invalid("/completed_at", str(error)) from None
    given = Completion(
        result=body.result,
        units=body.units,
        started_ms=body.started_ms,
        completed_ms=completed_ms,
        ran=Ran(
            body.engine or UNNAMED_ENGINE,
            body.device or "",
            body.pins,
            UNSET if body.energy_joules is None else body.energy_joules,
        ),
        receipt=body.receipt,
        receipt_opening=body.receipt_opening,
        price_opening=body.price_opening,
        signed=read_signed(call, body.transaction),
    )
    return await hand_in(call, await find_any_job(call), name, given)


async def hand_in(call: Call, record: JobRecord, name: str, given: Completion) -> Answer:
    """Take a result and answer with its receipt."""
    coordinator, caller = call.coordinator, call.caller
    try:
        if record.home is None:
            await job_files.check_outputs(coordinator, record, given.result)
            done = await completion.complete_job(coordinator, caller, record, name, given)
        else:
            done = await foreign_completion.complete_job(coordinator, caller, record, name, given)
    except BadCompletion as error:
        raise invalid(error.pointer, error.sentence) from None
    except job_files.UnknownOutput as error:
        raise invalid("/result/files", str(error)) from None
    except ContentPending:
        raise later("the content is on its way; hand in again", "CONTENT_PENDING") from None
    except (Unreachable, HomeRefused) as error:
        raise home_unreachable(record, error) from None
    return Answer(await view_receipt(coordinator, done))


async def fail(call: Call) -> Answer:
    body = call.get_body(JobFailure)
    name = await resolve_miner(call, body.miner_id)
    code = int(Reason.ENGINE_FAILED) if body.reason_code is None else body.reason_code
    return await give_back(call, name, code, read_signed(call, body.transaction))


async def give_back(call: Call, name: str, code: int, signed: VerifiedTransaction | None) -> Answer:
    """Give the lease on the job in the path back."""
    record = await find_any_job(call)
    transaction = await leasing.fail_job(call.coordinator, call.caller, record, name, code, signed)
    return Answer(
        Failed(
            job_id=wire.format_job_id(record.job.job_id),
            status=record.job.status,
            reason_code=code,
            transaction_id=wire.format_transaction_id(transaction),
        )
    )


ROUTES = (
    Route(
        "GET", "/v1/jobs/available", get_available, "A job to claim, or null", "Miners",
        roles=MINERS, query=AvailableQuery, answers={200: MaybeJob}, bucket=Bucket.POLLING,
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/claim", claim, "Claim a job", "Miners",
        roles=MINERS, body=ClaimRequest, answers={200: Claimed}, bucket=Bucket.POLLING,
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/heartbeat", heartbeat, "Report progress", "Miners",
        roles=MINERS, body=JobHeartbeat, answers={200: HeartbeatAnswer}, bucket=Bucket.POLLING,
        works_behind=True, is_routine=True,
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/complete", complete, "Hand in a result", "Miners",
        roles=MINERS, body=JobResult, answers={200: Receipt}, bucket=Bucket.POLLING,
        works_behind=True,
    ),
    Route(
        "POST", "/v1/jobs/{job_id}/fail", fail, "Give a job back", "Miners",
        roles=MINERS, body=JobFailure, answers={200: Failed}, bucket=Bucket.POLLING,
        works_behind=True,
    ),
)  # fmt: skip
