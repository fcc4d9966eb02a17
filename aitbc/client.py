"""Decides what the two clients offer: the same tree of calls, blocking and asynchronous.

Every method is a builder of aitbc/calls.py, sent over the client's transport, so that both clients
have each call with the same signature. `AITBCClient` is safe for several threads.
"""

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Concatenate, Final, Literal, ParamSpec, Self, TypeVar

from aitbc import calls
from aitbc.errors import JobFailedError, WaitTimeoutError
from aitbc.models import Job
from aitbc.transport import (
    AsyncTransport,
    Call,
    RetryPolicy,
    SyncTransport,
    TransportSettings,
)

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8001"
POLL_SECONDS: Final = 0.5

Until = Literal["completed", "final"]
"""`completed`: the job has its result and is settled; `final`: it has ended in any way."""


class _Calls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport


class _AsyncCalls:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport


def _blocking(build: Callable[P, Call[T]]) -> Callable[Concatenate[_Calls, P], T]:
    @functools.wraps(build)
    def method(self: _Calls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transport.send(build(*args, **kwargs))

    return method


def _awaited(build: Callable[P, Call[T]]) -> Callable[Concatenate[_AsyncCalls, P], Awaitable[T]]:
    @functools.wraps(build)
    async def method(self: _AsyncCalls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._transport.send(build(*args, **kwargs))

    return method


class Jobs(_Calls):
    """One's own jobs."""

    create = _blocking(calls.create_job)
    get = _blocking(calls.get_job)
    list = _blocking(calls.list_jobs)
    history = _blocking(calls.get_job_history)
    get_results = _blocking(calls.get_results)
    download = _blocking(calls.download)
    get_receipt = _blocking(calls.get_job_receipt)
    cancel = _blocking(calls.cancel_job)

    def wait(self, job_id: str, *, until: Until = "completed", timeout: float = 300) -> Job:
        """Return the job once it has ended.

        Raises `WaitTimeoutError`, and `JobFailedError` where it was to complete and did not.
        """
        deadline = time.monotonic() + timeout
        while True:
            job = self.get(job_id)
            if _is_reached(job, until):
                return job
            _check_deadline(job, time.monotonic(), deadline)
            time.sleep(POLL_SECONDS)


class AsyncJobs(_AsyncCalls):
    """One's own jobs."""

    create = _awaited(calls.create_job)
    get = _awaited(calls.get_job)
    list = _awaited(calls.list_jobs)
    history = _awaited(calls.get_job_history)
    get_results = _awaited(calls.get_results)
    download = _awaited(calls.download)
    get_receipt = _awaited(calls.get_job_receipt)
    cancel = _awaited(calls.cancel_job)

    async def wait(self, job_id: str, *, until: Until = "completed", timeout: float = 300) -> Job:
        """Return the job once it has ended.

        Raises `WaitTimeoutError`, and `JobFailedError` where it was to complete and did not.
        """
        deadline = time.monotonic() + timeout
        while True:
            job = await self.get(job_id)
            if _is_reached(job, until):
                return job
            _check_deadline(job, time.monotonic(), deadline)
            await asyncio.sleep(POLL_SECONDS)


class Miners(_Calls):
    """The side of the contract that miners use, and what anybody may know of them."""

    register = _blocking(calls.register_miner)
    get = _blocking(calls.get_miner)
    get_stats = _blocking(calls.get_miner_stats)
    get_earnings = _blocking(calls.get_miner_earnings)
    get_available_job = _blocking(calls.get_available_job)
    claim = _blocking(calls.claim_job)
    send_heartbeat = _blocking(calls.send_job_heartbeat)
    complete = _blocking(calls.complete_job)
    fail = _blocking(calls.fail_job)


class AsyncMiners(_AsyncCalls):
    """The side of the contract that miners use, and what anybody may know of them."""

    register = _awaited(calls.register_miner)
    get = _awaited(calls.get_miner)
    get_stats = _awaited(calls.get_miner_stats)
    get_earnings = _awaited(calls.get_miner_earnings)
    get_available_job = _awaited(calls.get_available_job)
    claim = _awaited(calls.claim_job)
    send_heartbeat = _awaited(calls.send_job_heartbeat)
    complete = _awaited(calls.complete_job)
    fail = _awaited(calls.fail_job)


class Receipts(_Calls):
    """The signed receipts of completed jobs."""

    list = _blocking(calls.list_receipts)
    get = _blocking(calls.get_receipt)
    get_bundle = _blocking(calls.get_receipt_bundle)
    get_opening = _blocking(calls.get_receipt_opening)
    verify = _blocking(calls.verify_receipt)


class AsyncReceipts(_AsyncCalls):
    """The signed receipts of completed jobs."""

    list = _awaited(calls.list_receipts)
    get = _awaited(calls.get_receipt)
    get_bundle = _awaited(calls.get_receipt_bundle)
    get_opening = _awaited(calls.get_receipt_opening)
    verify = _awaited(calls.verify_receipt)


class Chain(_Calls):
    """The chain: no key is needed, since what is sent is signed."""

    get_status = _blocking(calls.get_chain_status)
    list_validators = _blocking(calls.list_validators)
    list_successions = _blocking(calls.list_successions)
    list_peers = _blocking(calls.list_peers)
    send = _blocking(calls.send_transactions)
    get_transaction = _blocking(calls.get_transaction)
    get_account = _blocking(calls.get_account)
    audit_supply = _blocking(calls.audit_supply)


class AsyncChain(_AsyncCalls):
    """The chain: no key is needed, since what is sent is signed."""

    get_status = _awaited(calls.get_chain_status)
    list_validators = _awaited(calls.list_validators)
    list_successions = _awaited(calls.list_successions)
    list_peers = _awaited(calls.list_peers)
    send = _awaited(calls.send_transactions)
    get_transaction = _awaited(calls.get_transaction)
    get_account = _awaited(calls.get_account)
    audit_supply = _awaited(calls.audit_supply)


class Explorer(_Calls):
    """Final chain state, never a job's content."""

    list_blocks = _blocking(calls.list_blocks)
    get_block = _blocking(calls.get_block)
    list_transactions = _blocking(calls.list_transactions)
    list_receipts = _blocking(calls.list_settlements)
    get_stats = _blocking(calls.get_explorer_stats)
    get_job = _blocking(calls.get_chain_job)
    get_miner = _blocking(calls.get_chain_miner)
    get_account = _blocking(calls.get_chain_account)
    search = _blocking(calls.search_chain)


class AsyncExplorer(_AsyncCalls):
    """Final chain state, never a job's content."""

    list_blocks = _awaited(calls.list_blocks)
    get_block = _awaited(calls.get_block)
    list_transactions = _awaited(calls.list_transactions)
    list_receipts = _awaited(calls.list_settlements)
    get_stats = _awaited(calls.get_explorer_stats)
    get_job = _awaited(calls.get_chain_job)
    get_miner = _awaited(calls.get_chain_miner)
    get_account = _awaited(calls.get_chain_account)
    search = _awaited(calls.search_chain)


class AITBCClient:
    """The blocking client.

    `base_url` is one address or those of several nodes, tried in turn; without it, and without
    `api_key`, the environment's AITBC_API_URL and AITBC_API_KEY are used. Times in seconds.
    """

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._transport = SyncTransport(
            _choose_urls(base_url), _build_settings(api_key, timeout, retries)
        )
        self.jobs = Jobs(self._transport)
        self.miners = Miners(self._transport)
        self.receipts = Receipts(self._transport)
        self.chain = Chain(self._transport)
        self.explorer = Explorer(self._transport)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncAITBCClient:
    """The client for asyncio; the same calls as `AITBCClient`, awaited."""

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            _choose_urls(base_url), _build_settings(api_key, timeout, retries)
        )
        self.jobs = AsyncJobs(self._transport)
        self.miners = AsyncMiners(self._transport)
        self.receipts = AsyncReceipts(self._transport)
        self.chain = AsyncChain(self._transport)
        self.explorer = AsyncExplorer(self._transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _choose_urls(base_url: str | Sequence[str] | None) -> str | Sequence[str]:
    return base_url if base_url is not None else os.environ.get("AITBC_API_URL", DEFAULT_URL)


def _build_settings(
    api_key: str | None, timeout: float, retries: RetryPolicy | None
) -> TransportSettings:
    key = api_key if api_key is not None else os.environ.get("AITBC_API_KEY")
    return TransportSettings(api_key=key, timeout=timeout, policy=retries or RetryPolicy())


def _is_reached(job: Job, until: Until) -> bool:
    if not job.is_over:
        return False
    if until == "completed" and job.status != "completed":
        raise JobFailedError(f"{job.job_id} is {job.status} (reason {job.reason_code})", job)
    return True


def _check_deadline(job: Job, now: float, deadline: float) -> None:
    if now >= deadline:
        raise WaitTimeoutError(f"{job.job_id} is still {job.status} ({job.phase})")
