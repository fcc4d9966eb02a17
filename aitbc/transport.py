"""Decides how the steps of a call are carried out over HTTP and WebSockets: blocking, or awaited.

Both transports do the same in the same order; what follows from an answer is decided in
aitbc/exchange.py, what a call consists of in its flow.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import httpx2

from aitbc.channels import AsyncLines, AsyncSocket, Lines, Socket, open_async_socket, open_socket
from aitbc.errors import AITBCError, InvalidAnswerError
from aitbc.exchange import Answer, Endpoints, Exchange, TransportSettings, check_status
from aitbc.requests import Sink, build_request, build_stream, translate
from aitbc.steps import (
    Call,
    Emit,
    OpenLines,
    OpenSocket,
    Pause,
    Read,
    Step,
    Steps,
    Write,
)

T = TypeVar("T")
S = TypeVar("S")


class SyncTransport:
    """Carries steps out, blocking. Safe for several threads."""

    def __init__(self, urls: str | Sequence[str], settings: TransportSettings) -> None:
        self._endpoints = Endpoints(urls)
        self.settings = settings
        self._client = httpx2.Client(headers=settings.build_headers(), timeout=settings.timeout)

    def send(self, call: Call[T]) -> T:
        """Return the parsed answer of a call. Raises `AITBCError`."""
        exchange = Exchange(call, self.settings.policy)
        while True:
            url = self._endpoints.current
            try:
                return exchange.on_answer(self._ask(url, call))
            except AITBCError as error:
                self._endpoints.on_error(url, error)
                delay = exchange.on_error(error, random.random())
            time.sleep(delay)

    def run(self, steps: Steps[T]) -> T:
        """Return what a call or a flow comes to. Raises `AITBCError`."""
        flow = iter(steps)
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step)
                except AITBCError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def iterate(self, steps: Steps[None]) -> Iterator[Any]:
        """Yield what a flow emits; its channels are closed with the iteration."""
        flow = iter(steps)
        channel: Any = None
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = flow.send(None)
                    continue
                try:
                    if channel is not None and isinstance(step, OpenLines | OpenSocket):
                        channel.close()
                        channel = None
                    outcome = self._perform(step)
                except AITBCError as error:
                    step = flow.throw(error)
                    continue
                if isinstance(step, OpenLines | OpenSocket):
                    channel = outcome
                step = flow.send(outcome)
        except StopIteration:
            return
        finally:
            if channel is not None:
                channel.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case Call():
                return self.send(step)
            case Pause():
                return time.sleep(step.seconds)
            case OpenLines():
                return self._open(self._open_lines, step)
            case OpenSocket():
                return self._open(self._open_socket, step)
            case Write():
                return step.channel.write(step.text)
            case Read():
                return step.channel.read(step.timeout)
            case Emit():
                raise AssertionError("only an iteration emits")

    def _ask(self, url: str, call: Call[T]) -> Answer:
        sink = Sink(call.target, self.settings.max_answer_bytes)
        with ExitStack() as stack:
            stack.callback(sink.abandon)
            request = build_request(self._client, url, call, self.settings, stack)
            try:
                response = self._client.send(request, stream=True)
                try:
                    sink.open(response.status_code)
                    for chunk in response.iter_bytes():
                        sink.add(chunk)
                finally:
                    response.close()
            except httpx2.RequestError as error:
                raise translate(error, url) from error
            return Answer(response.status_code, response.headers, sink.finish())

    def _open(self, open_at: Callable[[str, S], Any], step: S) -> Any:
        url = self._endpoints.current
        try:
            return open_at(url, step)
        except AITBCError as error:
            self._endpoints.on_error(url, error)
            raise

    def _open_lines(self, url: str, step: OpenLines) -> Lines:
        request = build_stream(self._client, url, step, self.settings)
        try:
            response = self._client.send(request, stream=True)
            if response.status_code == 200:
                return Lines(response, url)
            try:
                body = response.read()
            finally:
                response.close()
        except httpx2.RequestError as error:
            raise translate(error, url) from error
        check_status(Answer(response.status_code, response.headers, body))
        raise InvalidAnswerError(f"{response.status_code} where a stream was expected")

    def _open_socket(self, url: str, step: OpenSocket) -> Socket:
        return open_socket(url, step.path, self.settings)


class AsyncTransport:
    """Carries steps out on an asyncio event loop."""

    def __init__(self, urls: str | Sequence[str], settings: TransportSettings) -> None:
        self._endpoints = Endpoints(urls)
        self.settings = settings
        self._client = httpx2.AsyncClient(
            headers=settings.build_headers(), timeout=settings.timeout
        )

    async def send(self, call: Call[T]) -> T:
        """Return the parsed answer of a call. Raises `AITBCError`."""
        exchange = Exchange(call, self.settings.policy)
        while True:
            url = self._endpoints.current
            try:
                return exchange.on_answer(await self._ask(url, call))
            except AITBCError as error:
                self._endpoints.on_error(url, error)
                delay = exchange.on_error(error, random.random())
            await asyncio.sleep(delay)

    async def run(self, steps: Steps[T]) -> T:
        """Return what a call or a flow comes to. Raises `AITBCError`."""
        flow = iter(steps)
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._perform(step)
                except AITBCError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def iterate(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """Yield what a flow emits; its channels are closed with the iteration."""
        flow = iter(steps)
        channel: Any = None
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = flow.send(None)
                    continue
                try:
                    if channel is not None and isinstance(step, OpenLines | OpenSocket):
                        await channel.close()
                        channel = None
                    outcome = await self._perform(step)
                except AITBCError as error:
                    step = flow.throw(error)
                    continue
                if isinstance(step, OpenLines | OpenSocket):
                    channel = outcome
                step = flow.send(outcome)
        except StopIteration:
            return
        finally:
            if channel is not None:
                await channel.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Call():
                return await self.send(step)
            case Pause():
                return await asyncio.sleep(step.seconds)
            case OpenLines():
                return await self._open(self._open_lines, step)
            case OpenSocket():
                return await self._open(self._open_socket, step)
            case Write():
                return await step.channel.write(step.text)
            case Read():
                return await step.channel.read(step.timeout)
            case Emit():
                raise AssertionError("only an iteration emits")

    async def _ask(self, url: str, call: Call[T]) -> Answer:
        sink = Sink(call.target, self.settings.max_answer_bytes)
        with ExitStack() as stack:
            stack.callback(sink.abandon)
            request = build_request(self._client, url, call, self.settings, stack)
            try:
                response = await self._client.send(request, stream=True)
                try:
                    sink.open(response.status_code)
                    async for chunk in response.aiter_bytes():
                        sink.add(chunk)
                finally:
                    await response.aclose()
            except httpx2.RequestError as error:
                raise translate(error, url) from error
            return Answer(response.status_code, response.headers, sink.finish())

    async def _open(self, open_at: Callable[[str, S], Awaitable[Any]], step: S) -> Any:
        url = self._endpoints.current
        try:
            return await open_at(url, step)
        except AITBCError as error:
            self._endpoints.on_error(url, error)
            raise

    async def _open_lines(self, url: str, step: OpenLines) -> AsyncLines:
        request = build_stream(self._client, url, step, self.settings)
        try:
            response = await self._client.send(request, stream=True)
            if response.status_code == 200:
                return AsyncLines(response, url)
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            raise translate(error, url) from error
        check_status(Answer(response.status_code, response.headers, body))
        raise InvalidAnswerError(f"{response.status_code} where a stream was expected")

    async def _open_socket(self, url: str, step: OpenSocket) -> AsyncSocket:
        return await open_async_socket(url, step.path, self.settings)
