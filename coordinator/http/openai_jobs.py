"""A call of an OpenAI path as an escrowed job: refused early, followed, cancelled on a hang-up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import structlog
from aiohttp import web

from coordinator import submission, wire
from coordinator.http.job_models import JobOptions
from coordinator.http.job_posting import submit_job
from coordinator.http.job_requests import Asked, read_members, resolve_model
from coordinator.http.job_streams import Event, JobFollower
from coordinator.http.job_views import get_result_object
from coordinator.http.problems import Problem, invalid
from coordinator.http.routing import Call
from coordinator.job_rows import JobRecord
from coordinator.matching import Requirements
from coordinator.phases import Status, describe_reason
from coordinator.services.definition import Service
from coordinator.services.models import get_model_name
from ledger.rejection import Rejected

JOB_SECONDS: Final = 600
"""How long a caller waits; the job's own deadline is the same."""
LOOK_SECONDS: Final = 0.25
"""How often it is looked whether the caller is still there."""
MAX_COST_HEADER: Final = "AITBC-Max-Cost"
MAX_LISTED: Final = 100
FAILED_STATUS: Final = 424
"""Failed Dependency: the job, not the request; clients do not repeat it by themselves."""

log = structlog.get_logger(__name__)


class HungUp(ConnectionError):
    """The caller is gone, or its key was revoked."""


class PaidCall:
    """A job that a caller waits for."""

    def __init__(self, call: Call, record: JobRecord) -> None:
        self._call = call
        self.record = record
        name = wire.format_job_id(record.job.job_id)
        self.job_id = name
        self.receipt_id = wire.format_receipt_id(record.job.job_id)
        self.headers = {"AITBC-Job-Id": self.job_id, "AITBC-Receipt-Id": self.receipt_id}

    async def follow(self) -> AsyncIterator[Event]:
        """Yield the job's events; a caller that hangs up ends the job. Raises `HungUp`."""
        follower = JobFollower(self._call.coordinator, self.record)
        events = follower.follow()
        pending: asyncio.Future[Event] | None = None
        is_over = False
        try:
            while not is_over:
                pending = pending or asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait({pending}, timeout=LOOK_SECONDS)
                if is_gone(self._call.request) or self._is_revoked():
                    raise HungUp
                if not done:
                    continue
                event = pending.result()
                pending = None
                is_over = event.name == "done"
                self.record = follower.record
                yield event
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            await events.aclose()
            if not is_over:
                await self._cancel()

    async def wait(self) -> dict[str, Any]:
        """Return the job's result once it is settled. Raises `Problem(424)` and `HungUp`."""
        async for _ in self.follow():
            pass
        return self.get_result()

    def get_result(self) -> dict[str, Any]:
        """Return the result of a job that has ended. Raises `Problem(424)`."""
        job = self.record.job
        if job.status != Status.COMPLETED.value:
            reason = job.reason_code or 0
            said = describe_reason(reason) if reason else job.status
            raise Problem(
                FAILED_STATUS,
                f"the job is {job.status}: {said}",
                f"JOB_{job.status.upper()}",
                members={"job_id": self.job_id, "reason_code": reason or None},
                headers=self.headers,
            )
        result = get_result_object(self.record)
        if result is None:
            raise Problem(410, "the result was not handed in", "RESULT_WITHHELD")
        return result

    def _is_revoked(self) -> bool:
        """Tell whether the caller's key opens nothing any more: whoever holds it is not told."""
        return self._call.coordinator.keys.is_revoked(self._call.caller.key_id)

    async def _cancel(self) -> None:
        """End the job of a caller who does not wait for it any more."""
        try:
            await submission.cancel_job(self._call.coordinator, self._call.caller, self.record)
            log.info("caller hung up", job=self.job_id)
        except Rejected as error:
            log.info("job of a caller who hung up goes on", job=self.job_id, reason=str(error))


async def begin_call(
    call: Call,
    service: Service,
    model: str | None,
    members: Mapping[str, Any],
    pointers: Mapping[str, str],
) -> PaidCall:
    """Submit a call's job. Raises `Problem`: 409 `NO_CAPABLE_MINER` before anything is locked."""
    coordinator = call.coordinator
    request = read_members(service, members, pointers)
    pinned = resolve_model(service, model, coordinator.settings)
    if not await coordinator.fleet.can_do(service.service_id, pinned):
        raise Problem(
            409,
            f"no registered miner does {service.service_id} with {get_model_name(pinned)}",
            "NO_CAPABLE_MINER",
            members={"offered": await _list_offered(call)},
            # OpenAI's clients repeat a 409 by themselves, and nothing would have changed.
            headers={"x-should-retry": "false"},
        )
    asked = Asked(
        service=service,
        model=pinned,
        request=request,
        job_type=service.service_id,
        name=None,
        timeout_seconds=JOB_SECONDS,
        max_cost=_read_max_cost(call),
        requirements=Requirements(),
        unread={},
    )
    return PaidCall(call, await submit_job(call, asked, JobOptions()))


def is_gone(request: web.Request) -> bool:
    """Tell whether whoever asked has hung up."""
    return request.transport is None or request.transport.is_closing()


def refuse_unsupported(
    given: Mapping[str, Any] | None, meaningless: Mapping[str, tuple[Any, ...]]
) -> None:
    """Raise `Problem(422)` for a member that would change the answer and cannot be done.

    `meaningless`: the values of such members that ask for nothing.
    """
    for name, values in meaningless.items():
        value = (given or {}).get(name)
        if value is not None and value not in values:
            raise invalid(f"/{name}", "is not supported here")


async def _list_offered(call: Call) -> dict[str, list[str]]:
    offered = await call.coordinator.fleet.list_offered()
    kinds = sorted({kind for each in offered for kind in each.announced.capabilities})
    models = sorted({get_model_name(m) for each in offered for m in each.announced.models})
    return {"services": kinds[:MAX_LISTED], "models": models[:MAX_LISTED]}


def _read_max_cost(call: Call) -> int | None:
    text = call.request.headers.get(MAX_COST_HEADER)
    if text is None:
        return None
    try:
        return wire.parse_ait(text)
    except ValueError as error:
        raise Problem(400, f"{MAX_COST_HEADER}: {error}") from None
