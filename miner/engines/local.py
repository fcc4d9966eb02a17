"""Decides how a model in a process of ours is asked: one job at a time, with progress and cancel.

A process that does not stop within `STOP_GRACE` is killed: native code may be in the middle of a
long step. Whatever fails in it, the next job finds a fresh process.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from miner.engines.interface import (
    Description,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    build_pins,
)
from miner.engines.process import ChildProcess
from miner.gpu.device import CPU, CUDA, Device

MODULE: Final = "miner.engines.local_server"
STOP_GRACE: Final = 1.0
"""Seconds that a run has to end by itself once it is told to."""


class LocalReply(NamedTuple):
    """What a model made; `answer` None where a run was ended before there was anything."""

    answer: dict[str, Any] | None
    units: int
    is_cut: bool
    description: Description | None
    """None where the run had not begun."""

    def build_result(self, **pins: str) -> EngineResult:
        """Return it as a run's result; `pins` are the request's own, beside the engine's."""
        about = self.description
        if about is None:
            return EngineResult(self.answer or {}, self.units, "", self.is_cut)
        return EngineResult(
            self.answer or {},
            self.units,
            about.text,
            self.is_cut,
            about.device,
            {**about.pins, **pins},
        )


class LocalModel:
    """A model's process, started when first needed.

    `runner` is a module of ours with a function `load`; `settings` are what that takes, beside
    `threads` and the `device` that is wanted.
    """

    def __init__(
        self,
        name: str,
        runner: str,
        model: str,
        settings: Mapping[str, Any],
        threads: int = 1,
        device: Device = CPU,
    ) -> None:
        self._model = model
        self._threads = threads
        self._device = device
        options = {**settings, "threads": threads, "device": device.wanted}
        self._settings = {"runner": runner, "options": options}
        self._child = ChildProcess(name, MODULE, threads, device.environment)
        self._turn = asyncio.Lock()
        self._description: Description | None = None
        self._is_closed = False

    @property
    def process_id(self) -> int | None:
        """Of the running process; it changes with each restart."""
        return self._child.process_id

    async def prepare(self) -> Description:
        """Start the process if none runs, and return what it says of itself."""
        if self._description is not None and self._child.is_running:
            return self._description  # in the middle of another job, perhaps
        async with self._turn:
            return await self._ensure()

    async def run(
        self, request: Mapping[str, Any], on_progress: OnProgress, stop: asyncio.Event
    ) -> LocalReply:
        """Return what the model makes of a request.

        Raises `InputInvalidError` and `EngineFailedError`.
        """
        async with _turn_or_stop(self._turn, stop) as has_turn:
            if not has_turn:
                return LocalReply(None, 0, True, None)
            description = await self._ensure()
            try:
                return await self._ask(request, on_progress, stop, description)
            except (OSError, ValueError) as error:
                last = await self._child.stop()
                raise EngineFailedError(f"the engine ended: {last or error}") from None
            except InputInvalidError:
                raise
            except BaseException:
                # An abandoned run would answer the next job; a failed one leaves who knows what.
                await self._child.kill()
                raise

    async def close(self) -> None:
        """End the process; jobs that still wait for their turn start no other."""
        self._is_closed = True
        await self._child.stop()

    async def _ensure(self) -> Description:
        if self._is_closed:
            raise EngineFailedError("the engine is closed")
        if self._description is None or not self._child.is_running:
            await self._child.stop()
            greeting = await self._child.start(self._settings)
            active = str(greeting["device"])
            self._description = Description(
                engine=str(greeting["engine"]),
                options=str(greeting["options"]),
                device=self._device.describe(active),
                model=self._model,
                pins=build_pins(self._model, str(greeting["engine"]), threads=self._threads),
                has_gpu=active == CUDA,
            )
        return self._description

    async def _ask(
        self,
        request: Mapping[str, Any],
        on_progress: OnProgress,
        stop: asyncio.Event,
        description: Description,
    ) -> LocalReply:
        await self._child.write({"run": dict(request)})
        answering = asyncio.create_task(self._read_answer(on_progress))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await self._child.write({"stop": True})
                await asyncio.wait({answering}, timeout=STOP_GRACE)
            if not answering.done():
                await self._child.kill()
                return LocalReply(None, 0, True, description)
            message = await answering
        finally:
            for task in (answering, stopping):
                task.cancel()
            await asyncio.gather(answering, stopping, return_exceptions=True)
        return _read_reply(message, description)

    async def _read_answer(self, on_progress: OnProgress) -> dict[str, Any]:
        while True:
            message = await self._child.read()
            if "progress" not in message:
                return message
            on_progress(max(0, min(99, int(message["progress"]))), "")


def _read_reply(message: dict[str, Any], description: Description) -> LocalReply:
    if "invalid" in message:
        raise InputInvalidError(str(message["invalid"]))
    if "failed" in message:
        raise EngineFailedError(str(message["failed"]))
    answer, units = message.get("answer"), message.get("units")
    if not isinstance(answer, dict | None) or type(units) is not int or units < 0:
        raise EngineFailedError("the engine's answer is none")
    return LocalReply(answer, units, bool(message.get("is_cut")), description)


@contextlib.asynccontextmanager
async def _turn_or_stop(turn: asyncio.Lock, stop: asyncio.Event) -> Any:
    """Hold the lock and give True, or give False when `stop` is set before it is free."""
    waiting = asyncio.create_task(turn.acquire())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not waiting.done():
            waiting.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)
    has_turn = not waiting.cancelled()
    try:
        yield has_turn
    finally:
        if has_turn:
            turn.release()
