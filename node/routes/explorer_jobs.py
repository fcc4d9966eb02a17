"""The explorer's jobs and receipts: escrow, leases and settlements, never a prompt or a result."""

import asyncio
from typing import Any, NamedTuple

from coordinator import wire
from coordinator.http.problems import Problem, not_found
from coordinator.http.routing import Answer, Call, Route
from ledger import crypto
from ledger.entries import job_key
from ledger.outcomes import JobSettled, iterate_job_events
from ledger.state import StateView, get_job
from node.chain_history import JobStep, SettledJob
from node.routes import models, records
from node.routes.answers import (
    build_item_routes,
    build_list_routes,
    refuse_below,
    require_hash,
)
from node.routes.reader import ChainReader


class Place(NamedTuple):
    """Where a settlement became final."""

    transaction_id: bytes
    position: int
    height: int
    time: int


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of jobs and receipts."""

    async def list_receipts(before: int | None, limit: int) -> list[models.ChainReceipt]:
        settled = await reader.history.list_settlements(before, limit)
        return await asyncio.to_thread(_describe_all, reader.view, settled)

    async def show_receipt(call: Call) -> Answer:
        name = call.path["receipt"]
        job = require_hash(name, "receipt", wire.RECEIPT_PREFIX, wire.JOB_PREFIX)
        return Answer(await describe_receipt(reader, job))

    async def show_job(call: Call) -> Answer:
        job = require_hash(call.path["job"], "job", wire.JOB_PREFIX)
        return Answer(await describe_job(reader, job))

    return (
        *build_list_routes(
            "/explorer/receipts", list_receipts, models.ChainReceipt, models.ChainReceipts,
            "Latest settlements",
        ),
        *build_item_routes(
            "/explorer/receipts/{receipt}", show_receipt, models.ChainReceiptDetail,
            "A settlement with the proofs of it",
        ),
        *build_item_routes(
            "/explorer/jobs/{job}", show_job, models.ChainJob, "A job's life, with its proof"
        ),
    )  # fmt: skip


async def describe_job(reader: ChainReader, job: bytes) -> models.ChainJob:
    """Return a job as the head's state holds it. Raises `Problem(404)`."""
    entry, pending = get_job(reader.view, job), reader.begin_proof(job_key(job))
    if entry is None or pending is None:
        raise not_found("job")
    members = records.describe_job(job, entry, reader.outage)
    steps = await reader.history.list_job_steps(job)
    return models.ChainJob(
        **members,
        steps=[_describe_step(step, job) for step in steps],
        height=pending.header.height,
        proof=await reader.finish_proof(pending),
    )


async def describe_receipt(reader: ChainReader, job: bytes) -> models.ChainReceiptDetail:
    """Return a job's settlement and its proofs. Raises `Problem` (404, 410)."""
    steps = await reader.history.list_job_steps(job)
    found = next((pair for pair in map(_find_settlement, steps) if pair is not None), None)
    pending = reader.begin_proof(job_key(job))
    if found is None or pending is None:
        raise _refuse_receipt(reader, job)
    place, event = found
    described = _describe_receipt(reader.view, place, event)
    located = await reader.history.get_located(place.position)
    assert located is not None
    return models.ChainReceiptDetail(
        **described,
        transaction_proof=await reader.prove_transaction(located.height, located.index),
        job_proof=await reader.finish_proof(pending),
    )


def _refuse_receipt(reader: ChainReader, job: bytes) -> Problem:
    entry, base = get_job(reader.view, job), reader.store.base_height
    if entry is not None and entry.settlement is not None and entry.settlement.height < base:
        return refuse_below(base)
    return not_found("receipt")


def _describe_all(view: StateView, settled: list[SettledJob]) -> list[models.ChainReceipt]:
    return [
        models.ChainReceipt(
            **_describe_receipt(
                view, Place(each.transaction_id, each.position, each.height, each.time), each.event
            )
        )
        for each in settled
    ]


def _describe_receipt(view: StateView, place: Place, event: JobSettled) -> dict[str, Any]:
    job = get_job(view, event.job)
    assert job is not None
    return {
        "receipt_id": wire.format_receipt_id(event.job),
        "job_id": wire.format_job_id(event.job),
        "miner_id": event.miner,
        "claim_number": event.number,
        "provider": crypto.format_address(event.payee),
        "client": crypto.format_address(job.client),
        "service": job.service,
        "receipt_commit": event.receipt_commit.hex(),
        **records.write_money("amount", event.amount),
        **records.write_money("payout", event.payout),
        **records.write_money("coordinator_share", event.coordinator_share),
        **records.write_money("network_share", event.network_share),
        **records.write_money("refund", event.refund),
        "transaction_id": wire.format_transaction_id(place.transaction_id),
        "height": place.height,
        "timestamp": wire.format_time(place.time),
        "cursor": str(place.position),
    }


def _describe_step(step: JobStep, job: bytes) -> dict[str, Any]:
    """Return what one outcome did to a job; a deadline has no transaction."""
    subject = step.outcome.subject
    events = [
        {"type": records.name_kind(event), **records.describe_record(event)}
        for event in iterate_job_events(step.outcome)
        if event.job == job
    ]
    return {
        "height": step.height,
        "timestamp": wire.format_time(step.time),
        "transaction_id": None if subject == job else wire.format_transaction_id(subject),
        "events": events,
    }


def _find_settlement(step: JobStep) -> tuple[Place, JobSettled] | None:
    for event in step.outcome.events:
        if isinstance(event, JobSettled):
            place = Place(step.outcome.subject, step.position, step.height, step.time)
            return place, event
    return None
