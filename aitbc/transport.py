"""Decides how one call reaches the API: headers, limits, retries, and which of several nodes.

A `Call` says what to ask and how to read the answer; `Exchange` holds the decisions of one call's
attempts and does no IO, so that the blocking and the asynchronous transport cannot differ.
"""

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import httpx2

from aitbc.errors import (
    AITBCError,
    APIError,
    ConnectionFailedError,
    InvalidAnswerError,
    RequestTimeoutError,
    build_api_error,
)

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The largest JSON answer that is read; downloads name their own limit."""

RETRIED_STATUSES: Final = frozenset({408, 425, 429, 502, 503, 504})
FAILOVER_STATUSES: Final = frozenset({502, 504})
FAILOVER_CODES: Final = frozenset({"NOT_IN_STEP", "HTTP_503"})
"""The node is behind the chain, or a proxy in front of it has none; other 503s ask for patience."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request of the contract. `parse` reads the decoded JSON, or the bytes if `is_binary`."""

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    body: object | None = None
    idempotency_key: str | None = None
    is_repeatable: bool = False
    """Sending it twice does what sending it once does: GET, DELETE, and what carries a key."""
    is_binary: bool = False
    timeout: float | None = None
    """Seconds to wait for the answer, where the call needs another bound than the client's."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long, a call is sent again. Times in seconds."""

    attempts: int = 5
    first_delay: float = 0.2
    longest_delay: float = 8.0
    longest_retry_after: float = 60.0
    """A server that asks for more than this is not waited for: the error is raised."""

    def compute_delay(self, attempt: int, draw: float) -> float:
        """Return the wait after the attempt of this number (from 1), for a draw from [0, 1).

        Full jitter over an exponentially growing range, so that clients do not come in step.
        """
        return min(self.longest_delay, self.first_delay * 2.0 ** (attempt - 1)) * draw


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange(Generic[T]):
    """The attempts of one call, and what follows from each answer."""

    def __init__(self, call: Call[T], policy: RetryPolicy) -> None:
        self._call = call
        self._policy = policy
        self._attempt = 0

    def on_answer(self, answer: Answer) -> T:
        """Return the parsed answer. Raises `APIError` or `InvalidAnswerError`."""
        if answer.status >= 400:
            raise build_api_error(
                answer.status, _decode_leniently(answer.body), _read_retry_after(answer.headers)
            )
        if not 200 <= answer.status < 300:
            raise InvalidAnswerError(f"unexpected status {answer.status}")
        if self._call.is_binary:
            return self._call.parse(answer.body)
        try:
            value = json.loads(answer.body) if answer.body else None
        except (ValueError, RecursionError) as error:
            raise InvalidAnswerError(f"the answer is not JSON: {error}") from None
        try:
            return self._call.parse(value)
        except ValueError as error:  # pydantic's ValidationError among them
            raise InvalidAnswerError(f"not the answer that was agreed: {error}") from None

    def on_error(self, error: AITBCError, draw: float) -> float:
        """Return how many seconds to wait before the next attempt, or raise the error."""
        self._attempt += 1
        if self._attempt >= self._policy.attempts or not self._is_retryable(error):
            raise error
        if isinstance(error, APIError) and error.retry_after is not None:
            if error.retry_after > self._policy.longest_retry_after:
                raise error
            return error.retry_after + self._policy.first_delay * draw
        return self._policy.compute_delay(self._attempt, draw)

    def _is_retryable(self, error: AITBCError) -> bool:
        if isinstance(error, ConnectionFailedError):
            return not error.is_sent or self._call.is_repeatable
        if isinstance(error, APIError):
            # What a limiter refused was not begun; 409 with Retry-After is a twin still running.
            if error.status == 429:
                return True
            is_passing = error.status in RETRIED_STATUSES or (
                error.status == 409 and error.retry_after is not None
            )
            return is_passing and self._call.is_repeatable
        return False


class Endpoints:
    """The addresses of interchangeable nodes, the one in use first."""

    def __init__(self, urls: str | Sequence[str]) -> None:
        self.urls = [urls] if isinstance(urls, str) else list(urls)
        if not self.urls:
            raise ValueError("at least one API address is needed")
        for url in self.urls:
            parsed = httpx2.URL(url)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise ValueError(f"not an http(s) address: {url!r}")
        self._index = 0

    @property
    def current(self) -> str:
        return self.urls[self._index].rstrip("/")

    def on_error(self, url: str, error: AITBCError) -> None:
        """Turn to the next address when the one used does not serve."""
        is_down = isinstance(error, ConnectionFailedError) or (
            isinstance(error, APIError)
            and (error.status in FAILOVER_STATUSES or error.code in FAILOVER_CODES)
        )
        if is_down and url == self.current:  # another call may have turned already
            self._index = (self._index + 1) % len(self.urls)


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What both transports share. `timeout` in seconds, for each step of an exchange."""

    api_key: str | None = None
    timeout: float = 30.0
    policy: RetryPolicy = RetryPolicy()
    max_answer_bytes: int = MAX_ANSWER_BYTES
    user_agent: str = "aitbc-python"

    def build_headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        headers = {"User-Agent": self.user_agent, "Accept": "application/json"}
        if self.api_key is not None:
            headers["X-Api-Key"] = self.api_key
        return headers


class SyncTransport:
    """Sends calls, blocking. Safe for several threads."""

    def __init__(self, urls: str | Sequence[str], settings: TransportSettings) -> None:
        self._endpoints = Endpoints(urls)
        self._settings = settings
        self._client = httpx2.Client(headers=settings.build_headers(), timeout=settings.timeout)

    def send(self, call: Call[T]) -> T:
        """Return the parsed answer of a call. Raises `AITBCError`."""
        exchange = Exchange(call, self._settings.policy)
        while True:
            url = self._endpoints.current
            try:
                return exchange.on_answer(self._ask(url, call))
            except AITBCError as error:
                self._endpoints.on_error(url, error)
                delay = exchange.on_error(error, random.random())
            time.sleep(delay)

    def _ask(self, url: str, call: Call[T]) -> Answer:
        request = _build_request(self._client, url, call, self._settings)
        try:
            response = self._client.send(request, stream=True)
            try:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    _check_size(body, self._settings)
            finally:
                response.close()
        except httpx2.RequestError as error:
            raise _translate(error, url) from error
        return Answer(response.status_code, response.headers, bytes(body))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncTransport:
    """Sends calls on an asyncio event loop."""

    def __init__(self, urls: str | Sequence[str], settings: TransportSettings) -> None:
        self._endpoints = Endpoints(urls)
        self._settings = settings
        self._client = httpx2.AsyncClient(
            headers=settings.build_headers(), timeout=settings.timeout
        )

    async def send(self, call: Call[T]) -> T:
        """Return the parsed answer of a call. Raises `AITBCError`."""
        exchange = Exchange(call, self._settings.policy)
        while True:
            url = self._endpoints.current
            try:
                return exchange.on_answer(await self._ask(url, call))
            except AITBCError as error:
                self._endpoints.on_error(url, error)
                delay = exchange.on_error(error, random.random())
            await asyncio.sleep(delay)

    async def _ask(self, url: str, call: Call[T]) -> Answer:
        request = _build_request(self._client, url, call, self._settings)
        try:
            response = await self._client.send(request, stream=True)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    _check_size(body, self._settings)
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            raise _translate(error, url) from error
        return Answer(response.status_code, response.headers, bytes(body))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _build_request(
    client: httpx2.Client | httpx2.AsyncClient,
    url: str,
    call: Call[T],
    settings: TransportSettings,
) -> httpx2.Request:
    headers = {}
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    if call.is_binary:
        headers["Accept"] = "*/*"
    return client.build_request(
        call.method,
        url + call.path,
        params={key: value for key, value in call.query.items() if value is not None},
        json=call.body,
        headers=headers,
        timeout=call.timeout if call.timeout is not None else settings.timeout,
    )


def _check_size(body: bytearray, settings: TransportSettings) -> None:
    if len(body) > settings.max_answer_bytes:
        raise InvalidAnswerError(f"the answer is over {settings.max_answer_bytes} bytes")


def _translate(error: httpx2.RequestError, url: str) -> ConnectionFailedError:
    text = f"{url}: {str(error) or type(error).__name__}"
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return RequestTimeoutError(text, is_sent=False)
    if isinstance(error, httpx2.TimeoutException):
        return RequestTimeoutError(text, is_sent=True)
    is_sent = not isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol)
    return ConnectionFailedError(text, is_sent=is_sent)


def _decode_leniently(body: bytes) -> object:
    """Return the JSON of an error's body, or nothing: a proxy in between may answer in HTML."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its two forms."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
