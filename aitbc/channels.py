"""Decides how an answer is read piece by piece: the lines of a stream, the messages of a socket.

Each kind once blocking and once awaited. A peer may send anything: what is read is bounded.
"""

import asyncio
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final

import httpx2
from websockets.asyncio import client as asyncio_sockets
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync import client as blocking_sockets

from aitbc.errors import (
    AITBCError,
    ConnectionFailedError,
    InvalidAnswerError,
    RequestTimeoutError,
    SocketClosedError,
)
from aitbc.exchange import Answer, TransportSettings, check_status, describe
from aitbc.requests import translate

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The longest line or message that is read of a stream."""
_FAILURES: Final = (OSError, WebSocketException)


class _Splitter:
    """Cuts bytes into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def add(self, chunk: bytes) -> None:
        self._rest += chunk

    def take(self) -> str | None:
        """Return the next whole line, None where more bytes are needed for one."""
        line, end, rest = self._rest.partition(b"\n")
        if len(line) > MAX_MESSAGE_BYTES:
            raise InvalidAnswerError(f"a line is over {MAX_MESSAGE_BYTES} bytes")
        if not end:
            return None
        self._rest = rest
        return line.removesuffix(b"\r").decode("utf-8", "replace")


class Lines:
    """The lines of one answer."""

    def __init__(self, response: httpx2.Response, url: str) -> None:
        self._response = response
        self._chunks = response.iter_bytes()
        self._splitter = _Splitter()
        self._url = url

    def read(self, timeout: float | None) -> str | None:
        """Return the next line, None at the end."""
        try:
            while (line := self._splitter.take()) is None:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return None
                self._splitter.add(chunk)
            return line
        except httpx2.RequestError as error:
            raise translate(error, self._url) from error

    def close(self) -> None:
        self._response.close()


class AsyncLines:
    """The lines of one answer."""

    def __init__(self, response: httpx2.Response, url: str) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._splitter = _Splitter()
        self._url = url

    async def read(self, timeout: float | None) -> str | None:
        """Return the next line, None at the end."""
        try:
            while (line := self._splitter.take()) is None:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    return None
                self._splitter.add(chunk)
            return line
        except httpx2.RequestError as error:
            raise translate(error, self._url) from error

    async def close(self) -> None:
        await self._response.aclose()


class Socket:
    """One WebSocket."""

    def __init__(self, manager: AbstractContextManager[Any], url: str) -> None:
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(manager)
        self._url = url

    def write(self, text: str) -> None:
        try:
            self._socket.send(text)
        except _FAILURES as error:
            raise _translate(error, self._url) from error

    def read(self, timeout: float | None) -> str | None:
        """Return the next message. Raises `SocketClosedError` at the end."""
        try:
            return _read_text(self._socket.recv(timeout))
        except TimeoutError as error:
            raise RequestTimeoutError(f"{self._url} is silent", is_sent=True) from error
        except _FAILURES as error:
            raise _translate(error, self._url) from error

    def close(self) -> None:
        self._stack.close()


class AsyncSocket:
    """One WebSocket."""

    def __init__(self, socket: asyncio_sockets.ClientConnection, url: str) -> None:
        self._socket = socket
        self._url = url

    async def write(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except _FAILURES as error:
            raise _translate(error, self._url) from error

    async def read(self, timeout: float | None) -> str | None:
        """Return the next message. Raises `SocketClosedError` at the end."""
        try:
            async with asyncio.timeout(timeout):
                return _read_text(await self._socket.recv())
        except TimeoutError as error:
            raise RequestTimeoutError(f"{self._url} is silent", is_sent=True) from error
        except _FAILURES as error:
            raise _translate(error, self._url) from error

    async def close(self) -> None:
        await self._socket.close()


def open_socket(url: str, path: str, settings: TransportSettings) -> Socket:
    """Return a connected WebSocket. Raises `AITBCError`."""
    try:
        return Socket(blocking_sockets.connect(**_choose(url, path, settings)), url)
    except _FAILURES as error:
        raise _translate(error, url) from error


async def open_async_socket(url: str, path: str, settings: TransportSettings) -> AsyncSocket:
    """Return a connected WebSocket. Raises `AITBCError`."""
    try:
        return AsyncSocket(await asyncio_sockets.connect(**_choose(url, path, settings)), url)
    except _FAILURES as error:
        raise _translate(error, url) from error


def _choose(url: str, path: str, settings: TransportSettings) -> dict[str, Any]:
    headers = settings.build_headers()
    return {
        "uri": "ws" + url.removeprefix("http") + path,
        "user_agent_header": headers.pop("User-Agent"),
        "additional_headers": headers,
        "open_timeout": settings.timeout,
        "max_size": MAX_MESSAGE_BYTES,
    }


def _read_text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise InvalidAnswerError("a message of text was expected")
    return message


def _translate(error: Exception, url: str) -> AITBCError:
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd is not None else None
        reason = error.rcvd.reason if error.rcvd is not None else "the connection broke"
        return SocketClosedError(f"{url}: {reason or code}", close_code=code)
    if isinstance(error, InvalidStatus):
        response = error.response
        try:
            check_status(
                Answer(response.status_code, response.headers, bytes(response.body or b""))
            )
        except AITBCError as refusal:
            return refusal
    return ConnectionFailedError(
        f"{url}: {describe(error)}", is_sent=not isinstance(error, OSError | InvalidHandshake)
    )
