"""Decides what an engine is: it reads a job's content, says what files that needs, and runs.

One engine runs one model for one service. What ran is part of the result and goes into the receipt:
no other engine, device or model ever stands in.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from ledger.faults import Reason

MAX_DESCRIPTION: Final = 200
"""Characters of a receipt's `engine`."""

OUTPUT: Final = "output"
"""Beside a run's sources: a private folder that was empty, for the files of its result."""
MAX_RESULT_FILES: Final = 64
MAX_RESULT_BYTES: Final = 256 * 1024 * 1024
"""Of all files of a result together, as far as coordinators take them."""

ANY_MODEL: Final = "*"
"""The model of an engine that takes it with the job."""

OnProgress = Callable[[int, str], None]
"""Called with the progress (0 to 99) and the text that came since the last call."""


def is_held(model: object, held: str | None) -> bool:
    """Tell whether an engine with one model, or with any, has the one that a job names."""
    return held == ANY_MODEL or (held is not None and model == held)


class EngineFailedError(Exception):
    """The engine stopped, or answered with nonsense."""

    reason = Reason.ENGINE_FAILED


class InputInvalidError(Exception):
    """The engine cannot take the job's input, whoever runs it."""

    reason = Reason.INPUT_INVALID


class Description(msgspec.Struct, frozen=True):
    """What an engine says of itself, for receipts and logs."""

    engine: str
    """Name and build."""
    options: str
    """What else the answer depends on."""
    device: str
    model: str
    """The model's identity, `name@sha256` of the weights that were loaded."""

    pins: Mapping[str, str] = MappingProxyType({})
    """What has to be the same for another run to be comparable, as far as it is the engine's."""
    has_gpu: bool = False
    """On a GPU: the one that `device` names, of this machine or by the word of its operator."""

    @property
    def text(self) -> str:
        """As a receipt's `engine` has it; its `model` and `device` are beside it."""
        parts = (self.engine, self.options)
        return "; ".join(part for part in parts if part)[:MAX_DESCRIPTION]


def build_pins(model: str, build: str, **others: int | str) -> dict[str, str]:
    """Return the pins of an engine with a model: build, hash of the weights, what else counts."""
    pins = {"build": build, **{name: str(value) for name, value in others.items()}}
    _, _, digest = model.partition("@")
    return {**pins, "model_sha256": digest} if digest else pins


class ResultFile(msgspec.Struct, frozen=True):
    """A file that a run made, below the folder that it was given for them."""

    path: Path
    name: str
    """As the client sees it; each of a result has its own."""
    media_type: str


class EngineResult(msgspec.Struct, frozen=True):
    """What came out of a run."""

    answer: dict[str, Any]
    """The result by its service's contract, its model aside."""
    units: int
    """What is billed; 0 where a run that was cut short made nothing."""
    engine: str
    is_cut: bool = False
    """The run was stopped before its end."""
    device: str = ""
    pins: Mapping[str, str] = MappingProxyType({})
    """What has to be the same for another run to be comparable: build, seed, threads, …"""
    energy_joules: int | None = None
    """What the device's own counter counted meanwhile; None where it has none."""
    files: tuple[ResultFile, ...] = ()
    """What the result is beside the answer, or instead of it."""


class Task(Protocol):
    """One job's content, read and found good."""

    @property
    def sources(self) -> Mapping[str, str]:
        """The addresses or file ids that the run needs as files, by the member that holds them."""

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the result; when `stop` is set before its end, what there is by then.

        `files`: where the sources lie, and `OUTPUT`.

        Raises `InputInvalidError` and `EngineFailedError`.
        """


class Engine(Protocol):
    """One model of one service, on this machine or on a server of the operator's."""

    @property
    def service(self) -> str:
        """The service whose jobs it runs."""

    @property
    def model(self) -> str:
        """The model's identity, as jobs name it, or `ANY_MODEL`."""

    def read(self, content: Mapping[str, Any]) -> Task:
        """Return what a job's content asks for. Raises `InputInvalidError`."""

    async def prepare(self) -> Description:
        """Bring it up, so that the next job begins at once. Raises `EngineFailedError`."""

    async def close(self) -> None:
        """End what was started."""
