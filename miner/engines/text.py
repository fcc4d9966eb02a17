"""Decides how a text job is run: one streamed request to an OpenAI-compatible endpoint.

The endpoint is llama.cpp's server in a process of ours (miner/engines/text_server.py), or any
address that speaks the same contract (vLLM, llama-server). Tokens are the endpoint's own count of
prompt and completion, read from every chunk, so that they are exact for a job that is cut short.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import httpx2
import msgspec

from miner.engines.interface import (
    Description,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    build_pins,
)
from miner.engines.text_request import TextRequest, read_text_request
from miner.engines.text_tokens import TokenTrail, build_headers

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_STREAM_BYTES: Final = 256 * 1024 * 1024
MAX_EVENT_BYTES: Final = 1024 * 1024
SERVICE: Final = "llm_inference"
RESOLVE_SECONDS: Final = 0.5
"""How long an answer that was cut short waits to be told its tokens."""
SILENCE_SECONDS: Final = 300.0
"""A prompt near the context's end takes minutes on one core before the first token."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where the engine answers, and what it says of itself."""

    url: str
    key: str
    model: str
    """The name by which the endpoint knows the model."""
    engine: str
    """Name and build, as it says them."""
    options: str
    device: str
    pins: Mapping[str, str] = MappingProxyType({})
    is_llama: bool = False
    """It is llama.cpp's own server, of our making: it names tokens by `logprobs`."""
    has_gpu: bool = False


class TextBackend(Protocol):
    """Whoever keeps the endpoint up: our own process, or somebody else's."""

    async def ensure(self) -> Endpoint:
        """Return the endpoint once it answers. Raises `EngineFailedError`."""

    async def on_failure(self) -> None:
        """Be told that a job failed on it, so that the next one finds it fresh."""

    async def close(self) -> None:
        """End what was started."""


class _Collected:
    """What has arrived so far of one answer."""

    def __init__(self, request: TextRequest, on_progress: OnProgress) -> None:
        self._most = request.parameters.max_tokens
        self._on_progress = on_progress
        self.parts: list[str] = []
        self.size = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.finish_reason = ""
        self.trail = TokenTrail()
        self.tokens: list[int] | None = None
        """The answer's tokens, once all has arrived; None where they are not known."""

    def add(self, event: dict[str, Any]) -> None:
        """Take in one chunk. Raises `EngineFailedError` for what is none."""
        if "error" in event:
            raise EngineFailedError(f"the engine reports: {str(event['error'])[:200]}")
        self._count(event)
        new = ""
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            piece = delta.get("content") or choice.get("text") or ""
            if not isinstance(piece, str):
                raise EngineFailedError("the engine's text is no text")
            try:
                self.size += len(piece.encode())
            except UnicodeEncodeError:
                raise EngineFailedError("the engine's text holds half a character") from None
            if self.size > MAX_ANSWER_BYTES:
                raise EngineFailedError(f"the answer is over {MAX_ANSWER_BYTES} bytes")
            self.parts.append(piece)
            timings = event.get("timings")
            made = timings.get("predicted_n") if isinstance(timings, dict) else None
            self.trail.add(choice, piece, made if type(made) is int else None)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            new += piece
        progress = min(99, 100 * self.completion_tokens // self._most)
        self._on_progress(progress, new)

    def build_result(self, about: Description, seed: int, is_cut: bool) -> EngineResult:
        """Return the answer so far; without one token of it nothing is billed."""
        total = self.prompt_tokens + self.completion_tokens
        answer = {
            "text": "".join(self.parts),
            "finish_reason": "cancelled" if is_cut else self.finish_reason,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": total,
            },
        }
        if self.tokens is not None:
            answer["verification"] = {"token_ids": self.tokens}
        units = 0 if is_cut and not self.completion_tokens else total
        pins = {**about.pins, "seed": str(seed)}
        return EngineResult(answer, units, about.text, is_cut, about.device, pins)

    def _count(self, event: dict[str, Any]) -> None:
        usage, timings = event.get("usage"), event.get("timings")
        if isinstance(usage, dict):
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        elif isinstance(timings, dict):
            # llama.cpp counts the prompt's tokens in two parts: evaluated, and found in its cache.
            prompt = timings.get("prompt_n", 0) + timings.get("cache_n", 0)
            completion = timings.get("predicted_n")
        else:
            return
        if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
            raise EngineFailedError("the engine's count of tokens is none")
        self.prompt_tokens, self.completion_tokens = prompt, completion


class TextTask:
    """One text job, ready for the endpoint."""

    sources: Mapping[str, str] = {}

    def __init__(self, engine: "TextEngine", request: TextRequest) -> None:
        self._engine = engine
        self._request = request

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the answer, or its beginning. `InputInvalidError`: the endpoint refuses it."""
        return await self._engine.run(self._request, on_progress, stop)


class TextEngine:
    """Runs text jobs of one model on a backend, several at a time if it has the slots."""

    service = SERVICE

    def __init__(self, model: str, backend: TextBackend) -> None:
        self.model = model
        self._backend = backend
        self._client = httpx2.AsyncClient(timeout=SILENCE_SECONDS)

    def read(self, content: Mapping[str, Any]) -> TextTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        return TextTask(self, read_text_request(content))

    async def prepare(self) -> Description:
        """Bring the endpoint up. Raises `EngineFailedError`."""
        return self._describe(await self._backend.ensure())

    def _describe(self, endpoint: Endpoint) -> Description:
        pins = build_pins(self.model, endpoint.engine, **endpoint.pins)
        return Description(
            endpoint.engine, endpoint.options, endpoint.device, self.model, pins, endpoint.has_gpu
        )

    async def run(
        self, request: TextRequest, on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the answer; when `stop` is set before its end, what there is of it by then.

        Raises `InputInvalidError` where the endpoint refuses the request itself, and
        `EngineFailedError`.
        """
        endpoint = await self._backend.ensure()
        collected = _Collected(request, on_progress)
        reading = asyncio.create_task(self._read(endpoint, request, collected))
        stopping = asyncio.create_task(stop.wait())
        is_cut = False
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
            else:
                is_cut = True
        except (httpx2.HTTPError, EngineFailedError) as error:
            await self._backend.on_failure()
            raise EngineFailedError(str(error) or type(error).__name__) from error
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)
        if is_cut:
            with contextlib.suppress(httpx2.HTTPError, EngineFailedError, TimeoutError):
                async with asyncio.timeout(RESOLVE_SECONDS):
                    collected.tokens = await collected.trail.resolve(self._client, endpoint)
        return collected.build_result(self._describe(endpoint), request.seed, is_cut)

    async def _read(self, endpoint: Endpoint, request: TextRequest, collected: _Collected) -> None:
        async with self._client.stream(
            "POST",
            endpoint.url + request.path,
            json=request.build_body(endpoint.model, is_llama=endpoint.is_llama),
            headers=build_headers(endpoint),
        ) as response:
            if response.status_code in (400, 413, 422):
                raise InputInvalidError(await _read_refusal(response))
            if response.status_code != 200:
                raise EngineFailedError(
                    f"status {response.status_code}: {await _read_refusal(response)}"
                )
            async for event in _iterate_events(response):
                collected.add(event)
        if not collected.finish_reason or not collected.prompt_tokens:
            raise EngineFailedError("the stream ended before the answer did")
        collected.tokens = await collected.trail.resolve(self._client, endpoint)

    async def close(self) -> None:
        """End the backend and the connections."""
        await self._client.aclose()
        await self._backend.close()


async def _iterate_events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON objects of a server-sent event stream, up to its `[DONE]`."""
    waiting = b""
    total = 0
    async for chunk in response.aiter_bytes():
        total += len(chunk)
        *lines, waiting = (waiting + chunk).split(b"\n")
        if total > MAX_STREAM_BYTES or len(waiting) > MAX_EVENT_BYTES:
            raise EngineFailedError("the engine's stream is over its limit")
        for line in lines:
            if line.startswith(b"error:"):
                raise EngineFailedError(f"the engine reports: {line[:200]!r}")
            if not line.startswith(b"data:"):
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            try:
                event = json.loads(data)
            except (ValueError, RecursionError):
                raise EngineFailedError("the engine's stream holds no JSON") from None
            if not isinstance(event, dict):
                raise EngineFailedError("the engine's stream holds no objects")
            yield event


async def _read_refusal(response: httpx2.Response) -> str:
    """Return the first words of an error's message."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_EVENT_BYTES:
            break
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = body[:200].decode(errors="replace")
    return str(message)[:200]
