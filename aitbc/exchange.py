"""Decides what follows from each answer: its value, an error, another try, another node.

Nothing here does IO, so that the blocking and the asynchronous transport cannot differ.
"""

import email.utils
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx2

from aitbc.errors import (
    AITBCError,
    APIError,
    ConnectionFailedError,
    InvalidAnswerError,
    build_api_error,
)
from aitbc.steps import Call

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The largest answer that is read into memory; one that goes to a file has no bound."""

RETRIED_STATUSES: Final = frozenset({408, 425, 429, 502, 503, 504})
FAILOVER_STATUSES: Final = frozenset({502, 504})
FAILOVER_CODES: Final = frozenset({"NOT_IN_STEP", "HTTP_503"})
"""The node is behind the chain, or a proxy in front of it has none; other 503s ask for patience."""


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
        check_status(answer)
        if self._call.is_binary:
            target = self._call.target
            return self._call.parse(answer.body if target is None else target)
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

    def on_progress(self) -> None:
        """Count the attempts from the start again: what is read piece by piece goes on."""
        self._attempt = 0

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


def check_status(answer: Answer) -> None:
    """Raise what an answer other than a success means: `APIError` or `InvalidAnswerError`."""
    if answer.status >= 400:
        raise build_api_error(
            answer.status, _decode_leniently(answer.body), _read_retry_after(answer.headers)
        )
    if not 200 <= answer.status < 300:
        raise InvalidAnswerError(f"unexpected status {answer.status}")


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


def describe(error: Any) -> str:
    """Return an error's text, or its kind where it has none."""
    return str(error) or type(error).__name__
