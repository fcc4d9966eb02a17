"""The coordinator's running parts: what happens at start, and what runs beside the requests."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy import Connection

from coordinator import (
    audit,
    completion,
    files,
    foreign_completion,
    foreign_rows,
    leasing,
    retention,
    updates,
    webhook_queue,
)
from coordinator.coordinator import Coordinator
from coordinator.follower import Follower
from coordinator.http import idempotency
from coordinator.webhook_delivery import WebhookSender

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 600.0
SWEEP_PAUSE = 0.2
"""Between batches: the database's one writer has others to serve."""
RESUME_SECONDS = 30.0
UPLOAD_DEADLINES = 2
"""A file that is not whole after so many times the deadline of an upload never will be."""
KEPT_HEIGHTS = 1_000
"""For how many heights after its validity a transaction's fate can be asked for here."""


async def run(coordinator: Coordinator, is_started: asyncio.Event) -> None:
    """Start, set the event, follow the chain until cancelled. A failure ends all of it."""
    follower = Follower(coordinator)
    await coordinator.storage.write(idempotency.delete_running)
    await follower.start()
    is_started.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.run())
        group.create_task(follower.run_resubmission())
        group.create_task(_resume(coordinator))
        group.create_task(foreign_completion.run(coordinator))
        group.create_task(_sweep(coordinator))
        group.create_task(WebhookSender(coordinator).run())
        group.create_task(coordinator.audit.run())


async def _resume(coordinator: Coordinator) -> None:
    while True:
        await completion.resume(coordinator)
        await asyncio.sleep(RESUME_SECONDS)


async def _sweep(coordinator: Coordinator) -> None:
    settings = coordinator.settings

    def sweep(connection: Connection, now: int, height: int) -> None:
        before = now - int(settings.content_retention * 1000)
        answers = now - int(settings.idempotency_retention * 1000)
        idempotency.delete_old(connection, answers)
        foreign_rows.delete_old(connection, before)
        retention.delete_settled_transactions(connection, height - KEPT_HEIGHTS)

    while True:
        # Read here: the chain belongs to this thread, the work runs in the database's.
        work = partial(sweep, now=coordinator.get_now(), height=coordinator.chain.get_head().height)
        await coordinator.storage.write(work)
        await _erase_old(coordinator)
        await _forget_old(coordinator)
        coordinator.streams.drop_ended(lambda job_id: leasing.is_leased(coordinator, job_id))
        await asyncio.sleep(SWEEP_SECONDS)


async def _erase_old(coordinator: Coordinator) -> None:
    settings, now = coordinator.settings, coordinator.get_now()
    before = now - int(settings.content_retention * 1000)
    contents = partial(retention.erase_contents, before_ms=before)
    erased = await _delete(coordinator, contents, retention.BATCH)
    old = partial(retention.hide_old_files, before_ms=before)
    await _delete(coordinator, old, retention.BATCH)
    # Before that an upload has ended, one way or the other.
    arrived = now - UPLOAD_DEADLINES * int(settings.file_deadline * 1000)
    deleted = 0
    while rows := await coordinator.storage.read(partial(retention.list_hidden, before_ms=arrived)):
        for row in rows:
            await files.erase(coordinator.storage, row)
            await asyncio.sleep(SWEEP_PAUSE)
        deleted += len(rows)
    if erased or deleted:
        log.info("retention", contents=erased, files=deleted)


async def _forget_old(coordinator: Coordinator) -> None:
    settings, now = coordinator.settings, coordinator.get_now()
    told = now - int(settings.update_retention * 1000)
    await _delete(coordinator, partial(updates.delete_old, before_ms=told), updates.BATCH)
    ended = now - int(settings.webhooks.retention_seconds * 1000)
    forget = partial(webhook_queue.delete_old, before_ms=ended)
    await _delete(coordinator, forget, webhook_queue.DELETE_BATCH)
    noted = now - int(settings.audit_retention * 1000)
    await _delete(coordinator, partial(audit.delete_old, before_ms=noted), audit.DELETE_BATCH)


async def _delete(coordinator: Coordinator, work: Callable[[Connection], int], batch: int) -> int:
    """Delete one batch after the other, until one is not full; return how many rows went."""
    total = 0
    while True:
        count = await coordinator.storage.write(work)
        total += count
        if count < batch:
            return total
        await asyncio.sleep(SWEEP_PAUSE)
