"""The miner routes: register, look, statistics, heartbeat, earnings, and the poll protocol.

The poll protocol is that of workers written for the older network: poll, result, fail.
"""

import asyncio
import json
from typing import Any

import sqlalchemy as sa

from coordinator import job_rows, offering, registration, sql, wire
from coordinator.http.listing import build_page
from coordinator.http.miner_jobs import (
    claim_lease,
    find_any_job,
    give_back,
    hand_in,
    list_miners,
    read_miner_name,
    read_signed,
    resolve_miner,
)
from coordinator.http.miner_models import (
    AssignedJob,
    Earning,
    EarningList,
    EarningsQuery,
    Failed,
    MinerHeartbeat,
    MinerPoll,
    MinerRegistration,
    MinerSeen,
    MinerShown,
    MinerStats,
    PolledFailure,
    PolledResult,
    Registered,
    TakenResult,
)
from coordinator.http.poll_protocol import (
    build_payload,
    is_failure,
    read_capabilities,
    read_result,
)
from coordinator.http.problems import Problem, invalid, not_found
from coordinator.http.routing import ANY_ROLE, MINERS, Answer, Bucket, Call, Route
from coordinator.job_rows import JOBS, RECEIPTS, JobRecord
from coordinator.matching import read_announcement
from coordinator.receipt_rows import UNNAMED_RUN, Completion
from coordinator.statistics import compute_figures
from coordinator.tables import JobRow, WorkerRow
from ledger.crypto import format_address
from ledger.entries import Miner
from ledger.faults import Reason
from ledger.rejection import Rejected
from ledger.state import get_miner

POLL_ATTEMPTS = 8
"""Jobs that one poll tries to claim before it answers that there is none."""
NAME_DIGITS = 16
"""Of its account's address, in the name of a miner that gives none."""


async def register(call: Call) -> Answer:
    body = call.get_body(MinerRegistration)
    name = await _choose_name(call, body)
    try:
        bond = None if body.bond_base is None else wire.parse_base_units(body.bond_base)
    except ValueError as error:
        raise invalid("/bond_base", str(error)) from None
    gpu = body.gpu_info.model_dump(exclude_none=True) if body.gpu_info is not None else {}
    capabilities, models = body.capabilities, body.models
    if isinstance(capabilities, dict):
        capabilities, found, found_gpu = read_capabilities(capabilities)
        models, gpu = models or found, gpu or found_gpu
    metadata = registration.encode_metadata(
        {
            "capabilities": capabilities,
            "gpu_info": gpu,
            "models": models,
            "prices": {service: price for service, price in body.prices.items() if price < 2**53},
        }
    )
    key = None if body.encryption_key is None else bytes.fromhex(body.encryption_key)
    done = await registration.register_miner(
        call.coordinator, call.caller, name, metadata, key, bond,
        read_signed(call, body.transaction),
    )  # fmt: skip
    entry = await registration.find_miner(call.coordinator, name)
    transaction = done.transaction
    shown = Registered(
        miner_id=name,
        status="registering" if entry is None else entry[0],
        transaction_id=None if transaction is None else wire.format_transaction_id(transaction),
        session_token=name,
    )
    return Answer(shown, 201 if done.is_new else 200)


async def _choose_name(call: Call, body: MinerRegistration) -> str:
    """Return the name to register; an account's first miner may leave it to us."""
    name = read_miner_name(call, body.miner_id)
    if name is None and not await list_miners(call):
        return "miner_" + call.caller.address.hex()[:NAME_DIGITS]
    return await resolve_miner(call, name)


def _find_registered(call: Call) -> tuple[str, Miner]:
    name = call.path["miner_id"]
    miner = get_miner(call.coordinator.chain.get_view(), name) if len(name) <= 64 else None
    if miner is None:
        raise not_found("miner")
    return name, miner


async def get_miner_route(call: Call) -> Answer:
    name = call.path["miner_id"]
    found = await registration.find_miner(call.coordinator, name) if len(name) <= 64 else None
    if found is None:
        raise not_found("miner")
    status, miner = found
    announced = read_announcement(miner.metadata)
    worker = await call.coordinator.storage.read(
        lambda connection: sql.find(connection, WorkerRow, miner=name)
    )
    seen = None if worker is None else max(worker.seen_ms, call.coordinator.seen.get(name, 0))
    return Answer(
        MinerShown(
            miner_id=name,
            status=status,
            owner=format_address(miner.owner),
            capabilities=list(announced.capabilities),
            gpu_info={
                "name": announced.gpu_name,
                "memory": str(announced.gpu_memory),
                "count": announced.gpu_count,
            },
            models=list(announced.models),
            prices=dict(announced.prices),
            bond=wire.format_ait(miner.bond),
            bond_base=str(miner.bond),
            encryption_key=miner.encryption_key.hex(),
            registered_at=wire.format_optional_time(miner.registered_at or None),
            last_seen=wire.format_optional_time(seen),
            live_leases=miner.live_leases,
        )
    )


async def get_stats(call: Call) -> Answer:
    name, miner = _find_registered(call)
    figures = compute_figures(miner)
    return Answer(
        MinerStats(
            miner_id=name,
            reputation=figures.reputation,
            total_jobs=miner.claims,
            success_rate=figures.success_rate,
            average_completion_time=figures.average_completion_time,
            total_earned=wire.format_ait(miner.earned),
            total_earned_base=str(miner.earned),
            active_since=wire.format_time(miner.registered_at),
            settled=miner.settled,
            failed=miner.failed,
            released=miner.released,
            lapsed=miner.lapsed,
            cancelled=miner.cancelled,
        )
    )


async def heartbeat(call: Call) -> Answer:
    body = call.get_body(MinerHeartbeat)
    name = await resolve_miner(call, body.miner_id)
    miner = await registration.require_state(call.coordinator, call.caller, name)
    return Answer(
        {
            "miner_id": name,
            "status": "active",
            "live_leases": miner.live_leases,
            "last_seen": wire.format_time(call.coordinator.get_now()),
        }
    )


async def poll(call: Call) -> Answer:
    body = call.body if isinstance(call.body, MinerPoll) else MinerPoll()
    if not call.caller.is_custodial:
        raise Problem(
            422,
            "a poll claims in the miner's name, and this account signs its claims by itself: "
            "use /v1/jobs/available and /v1/jobs/{job_id}/claim",
            "SIGNATURE_NEEDED",
        )
    name = await resolve_miner(call, body.miner_id)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + body.max_wait_seconds
    for _ in range(POLL_ATTEMPTS):
        wait = max(0.0, deadline - loop.time())
        record = await offering.find_available(call.coordinator, call.caller, name, wait)
        if record is None:
            break
        try:
            lease = await claim_lease(call, record, name, None, is_new=True)
        except (Rejected, Problem):
            # Somebody else was first; there may be another job, or one may come.
            continue
        return Answer(_assign(lease.record))
    return Answer(None, 204)


def _assign(record: JobRecord) -> dict[str, Any]:
    job = record.job
    return AssignedJob(
        job_id=wire.format_job_id(job.job_id),
        payload=build_payload(record.load_content() or {}),
        constraints={
            **json.loads(job.requirements),
            "max_price": wire.format_ait(job.max_price),
            "max_units": job.max_units,
            "timeout_seconds": job.execution_limit // 1000,
        },
    ).model_dump(mode="json")


async def take_result(call: Call) -> Answer:
    body = call.get_body(PolledResult)
    name = await resolve_miner(call, body.miner_id)
    if is_failure(body.result):
        return await give_back(call, name, int(Reason.ENGINE_FAILED), None)
    record = await find_any_job(call)
    units = body.metrics.get("units")
    given = Completion(
        result=read_result(record.job.service, body.result),
        units=units if type(units) is int and units > 0 else None,
        started_ms=None,
        completed_ms=None,
        ran=UNNAMED_RUN,
    )
    return await hand_in(call, record, name, given)


async def take_failure(call: Call) -> Answer:
    body = call.get_body(PolledFailure)
    name = await resolve_miner(call, body.miner_id)
    code = body.error_code if isinstance(body.error_code, int) else int(Reason.ENGINE_FAILED)
    return await give_back(call, name, code, None)


async def list_earnings(call: Call) -> Answer:
    name, miner = _find_registered(call)
    if miner.owner != call.caller.address:
        raise not_found("miner")
    query = call.get_query(EarningsQuery)
    joined = RECEIPTS.join(JOBS, JOBS.c.row_id == RECEIPTS.c.job_row_id)
    conditions = [RECEIPTS.c.is_final.is_(True), RECEIPTS.c.miner == name]

    def read(connection: sa.Connection) -> tuple[list[JobRecord], int]:
        count = sa.select(sa.func.count()).select_from(joined).where(*conditions)
        statement = JOBS.select().select_from(joined).where(*conditions)
        if query.cursor is not None:
            statement = statement.where(JOBS.c.row_id < int(query.cursor))
        statement = statement.order_by(JOBS.c.row_id.desc())
        jobs = sql.load(connection, JobRow, statement.limit(query.limit + 1).offset(query.offset))
        records = job_rows.join_all(connection, jobs, has_contents=False)
        return records, connection.execute(count).scalar_one()

    records, total = await call.coordinator.storage.read(read)
    shown = records[: query.limit]
    last = shown[-1].job.row_id if shown else None
    page = build_page(
        "earnings", [_view_earning(record) for record in shown], total, query, last,
        len(records) - len(shown),
    )  # fmt: skip
    if query.format == "array":
        return Answer(page)
    return Answer(
        {
            "miner_id": name,
            "total_earned": wire.format_ait(miner.earned),
            "total_earned_base": str(miner.earned),
            **page,
        }
    )


def _view_earning(record: JobRecord) -> Earning:
    job, receipt = record.job, record.receipt
    assert receipt is not None and job.end_tx is not None
    assert job.end_height is not None and job.ended_ms is not None
    return Earning(
        job_id=wire.format_job_id(job.job_id),
        receipt_id=wire.format_receipt_id(job.job_id),
        units=json.loads(receipt.document)["units"],
        amount=wire.format_ait(job.amount),
        amount_base=str(job.amount),
        earned=wire.format_ait(job.payout),
        earned_base=str(job.payout),
        transaction_id=wire.format_transaction_id(job.end_tx),
        height=job.end_height,
        settled_at=wire.format_time(job.ended_ms),
    )


ROUTES = (
    Route(
        "POST", "/v1/miners/register", register, "Register a miner, or announce anew", "Miners",
        roles=MINERS, body=MinerRegistration, answers={201: Registered, 200: Registered},
    ),
    Route(
        "POST", "/v1/miners/heartbeat", heartbeat, "Say that a miner is there", "Miners",
        roles=MINERS, body=MinerHeartbeat, answers={200: MinerSeen}, bucket=Bucket.POLLING,
        works_behind=True, is_routine=True,
    ),
    Route(
        "POST", "/v1/miners/poll", poll, "Get a job that is claimed already", "Miners",
        roles=MINERS, body=MinerPoll, is_body_optional=True,
        answers={200: AssignedJob, 204: None}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/miners/{miner_id}", get_miner_route, "Get a miner", "Miners",
        roles=ANY_ROLE, answers={200: MinerShown},
    ),
    Route(
        "GET", "/v1/miners/{miner_id}/stats", get_stats, "Get a miner's statistics", "Miners",
        roles=ANY_ROLE, answers={200: MinerStats},
    ),
    Route(
        "GET", "/v1/miners/{miner_id}/earnings", list_earnings, "List a miner's earnings", "Miners",
        roles=MINERS, query=EarningsQuery, answers={200: EarningList}, bucket=Bucket.POLLING,
    ),
    Route(
        "POST", "/v1/miners/{job_id}/result", take_result, "Hand in a polled job's result",
        "Miners", roles=MINERS, body=PolledResult, answers={200: TakenResult},
        bucket=Bucket.POLLING, works_behind=True,
    ),
    Route(
        "POST", "/v1/miners/{job_id}/fail", take_failure, "Give a polled job back", "Miners",
        roles=MINERS, body=PolledFailure, answers={200: Failed}, bucket=Bucket.POLLING,
        works_behind=True,
    ),
)  # fmt: skip
