"""Decides how a call is written as an HTTP request, and what a failure to send one means."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2

from aitbc.errors import ConnectionFailedError, InvalidAnswerError, RequestTimeoutError
from aitbc.exchange import TransportSettings, describe
from aitbc.steps import Call, OpenLines, Upload

T = TypeVar("T")


class Sink:
    """Where an answer's bytes go: to memory, bounded, or to a file that is whole or not there."""

    def __init__(self, target: Path | None, limit: int) -> None:
        self._target = target
        self._limit = limit
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    @property
    def _part(self) -> Path:
        assert self._target is not None
        return self._target.with_name(self._target.name + ".part")

    def open(self, status: int) -> None:
        """Begin; an error's body goes to memory in any case."""
        if self._target is not None and 200 <= status < 300:
            self._file = self._part.open("wb")

    def add(self, chunk: bytes) -> None:
        """Take some more. Raises `InvalidAnswerError` over the limit."""
        if self._file is not None:
            self._file.write(chunk)
            return
        self._memory += chunk
        if len(self._memory) > self._limit:
            raise InvalidAnswerError(f"the answer is over {self._limit} bytes")

    def finish(self) -> bytes:
        """Return what is in memory; the file is under its name from here on."""
        if self._file is not None:
            assert self._target is not None
            self._file.close()
            self._part.replace(self._target)
            self._file = None
        return bytes(self._memory)

    def abandon(self) -> None:
        """Remove what did not become whole."""
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)


def build_request(
    client: httpx2.Client | httpx2.AsyncClient,
    url: str,
    call: Call[T],
    settings: TransportSettings,
    stack: ExitStack,
) -> httpx2.Request:
    """Return a call's request; `stack` closes the file that it is read from."""
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
        files=None if call.upload is None else {"file": _open(call.upload, stack)},
        headers=headers,
        timeout=call.timeout if call.timeout is not None else settings.timeout,
    )


def build_stream(
    client: httpx2.Client | httpx2.AsyncClient,
    url: str,
    step: OpenLines,
    settings: TransportSettings,
) -> httpx2.Request:
    """Return the request for a stream of events."""
    return client.build_request(
        "GET",
        url + step.path,
        headers={"Accept": "text/event-stream", **step.headers},
        timeout=httpx2.Timeout(settings.timeout, read=step.timeout),
    )


def translate(error: httpx2.RequestError, url: str) -> ConnectionFailedError:
    """Return what a failure of the connection means to the caller."""
    text = f"{url}: {describe(error)}"
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return RequestTimeoutError(text, is_sent=False)
    if isinstance(error, httpx2.TimeoutException):
        return RequestTimeoutError(text, is_sent=True)
    is_sent = not isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol)
    return ConnectionFailedError(text, is_sent=is_sent)


def _open(upload: Upload, stack: ExitStack) -> Any:
    source = upload.source
    content = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
    return upload.name, content, upload.media_type
