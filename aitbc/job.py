"""Decides what can be done with a job that a client was given: on the object itself.

`BoundJob[SyncTransport]` is what the blocking client gives, `BoundJob[AsyncTransport]` the other.
"""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, Generic

from pydantic import PrivateAttr

from aitbc.calls import jobs as calls
from aitbc.endpoint import Endpoint, Owner, P, S, Series, T, get_signer, go_through, without_first
from aitbc.following import stream_job, wait_for_job
from aitbc.market_models import JobEvent
from aitbc.models import Job, Page
from aitbc.signing import Signer, sign_cancel, sign_if_asked
from aitbc.steps import Call, Flow, Steps
from aitbc.transport import AsyncTransport, SyncTransport


def cancel(signer: Signer | None, job_id: str) -> Flow[Job]:
    """Cancel a job; repeating it is harmless. A client with a wallet signs for it."""
    return sign_cancel(calls.cancel_job(job_id), job_id, signer)


def _get_id(owner: Any) -> tuple[str]:
    return (owner.job_id,)


def _get_signer_and_id(owner: Any) -> tuple[Signer | None, str]:
    return owner.signer, owner.job_id


def _gives(build: Callable[Concatenate[str, P], Steps[T]]) -> Endpoint[P, T, T]:
    return Endpoint(without_first(1, build), lead=_get_id)


def _gives_job(
    build: Callable[Concatenate[str, P], Steps[Job]],
) -> "Endpoint[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]":
    return Endpoint(without_first(1, build), lead=_get_id, finish=bind)


def _cancels(
    build: Callable[Concatenate[Signer | None, str, P], Steps[Job]],
) -> "Endpoint[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]":
    return Endpoint(without_first(2, build), lead=_get_signer_and_id, finish=bind)


def _streams(
    build: Callable[Concatenate[str, P], Steps[None]],
) -> Series[P, JobEvent, JobEvent]:
    return Series(without_first(1, build), lead=_get_id)


def bind(owner: Owner[Any], job: Job) -> "BoundJob[Any]":
    """Return a job that knows the client that it came from."""
    bound: BoundJob[Any] = BoundJob.model_validate(job.to_dict())
    bound.attach(owner)
    return bound


class JobMethods:
    """The client's calls about one job, which is this one."""

    refresh = _gives_job(calls.get_job)
    wait = _gives_job(wait_for_job)
    cancel = _cancels(cancel)
    get_results = _gives(calls.get_results)
    get_content = _gives(calls.get_content)
    get_receipt = _gives(calls.get_job_receipt)
    download = _gives(calls.download_result)
    download_to = _gives(calls.download_result_to)
    stream = _streams(stream_job)


class BoundJob(Job, JobMethods, Generic[S]):
    """A job, and the client that it came from."""

    _owner: Any = PrivateAttr()

    @property
    def transport(self) -> S:
        transport: S = self._owner.transport
        return transport

    @property
    def signer(self) -> Signer | None:
        signer: Signer | None = self._owner.signer
        return signer

    def attach(self, owner: Owner[Any]) -> None:
        """Have the methods go by this client."""
        self._owner = owner


def job(
    build: Callable[P, Steps[Job]],
) -> Endpoint[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]:
    """Declare a method that gives a job."""
    return Endpoint(build, finish=bind)


def signed_job(
    build: Callable[Concatenate[Signer | None, P], Steps[Job]],
) -> Endpoint[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]:
    """Declare a method that gives a job and may sign for it."""
    return Endpoint(without_first(1, build), lead=get_signer, finish=bind)


def new_job(
    build: Callable[P, Call[Job]],
) -> Endpoint[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]:
    """Declare a method that makes a job, signed by the client where it keeps its own key."""

    @functools.wraps(build)
    def flow(signer: Signer | None, *args: P.args, **kwargs: P.kwargs) -> Flow[Job]:
        return sign_if_asked(build(*args, **kwargs), signer)

    return Endpoint(flow, lead=get_signer, finish=bind)


def page_of_jobs(
    build: Callable[P, Steps[Page[Job]]],
) -> Endpoint[P, Page[BoundJob[SyncTransport]], Page[BoundJob[AsyncTransport]]]:
    """Declare a method that gives a page of jobs."""

    def finish(owner: Any, page: Page[Job]) -> Page[BoundJob[Any]]:
        items = [bind(owner, found) for found in page.items]
        return Page[Any].model_construct(
            _fields_set=page.model_fields_set, **{**dict(page), "items": items}
        )

    return Endpoint(build, finish=finish)


def all_jobs(
    build: Callable[P, Call[Page[Job]]],
) -> Series[P, BoundJob[SyncTransport], BoundJob[AsyncTransport]]:
    """Declare a method that gives every job of a list."""
    return Series(go_through(build), finish=bind)


def job_events(build: Callable[P, Steps[None]]) -> Series[P, JobEvent, JobEvent]:
    """Declare a method that gives a job's events."""
    return Series(build)
