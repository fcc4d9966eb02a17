"""Decides what an onnx_inference job asks: a model that comes with it, tensors in, tensors out.

A model is named by the hash of its bytes, and holds all its data in them. Each run is a process of
its own in the sandbox; the seconds that the model takes are billed, a begun one whole. A run that
is cut short leaves nothing and bills nothing.
"""

import asyncio
import json
import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from miner.engines.content import check_source, read_content
from miner.engines.interface import (
    ANY_MODEL,
    OUTPUT,
    Description,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    build_pins,
)
from miner.engines.local_server import describe_processor
from miner.engines.sandboxed import (
    LONGEST_SECONDS,
    check_bounds,
    check_signal,
    describe_sandbox,
    run_command,
)
from miner.engines.sandboxed_python import Interpreter, Program, find_interpreter
from miner.gpu.device import CPU, CUDA, Device
from miner.hashing import hash_file
from miner.sandbox.interface import MIB, Ending, Limits, Mount, OnLine, Sandbox

SERVICE: Final = "onnx_inference"
SOURCE: Final = "model_url"
PROGRAM: Final = Program(
    Path(__file__).parent / "onnx_program" / "onnx_runner.py",
    ("onnxruntime", "numpy", "numpy.libs", "nvidia"),
)
MODEL: Final = "/input/model"
ANSWER: Final = "answer.json"
MAX_ANSWER_BYTES: Final = 4 * MIB
MAX_TENSORS: Final = 64
MAX_RANK: Final = 8
MAX_ELEMENTS: Final = 1_000_000
LIMITS: Final = Limits(
    memory_bytes=4_096 * MIB,
    cpu_seconds=LONGEST_SECONDS,
    wall_seconds=LONGEST_SECONDS,
    processes=256,
    disk_bytes=8 * MIB,
)
PROBE_LIMITS: Final = LIMITS._replace(cpu_seconds=60, wall_seconds=60)
PROVIDERS: Final = {"cpu": "CPUExecutionProvider", CUDA: "CUDAExecutionProvider"}
LOADED_PROGRESS: Final = 20
_NUMBERS: Final = (int, float, bool)
IDENTITY: Final = re.compile(r"[^@]{1,128}@([0-9a-f]{64})", re.ASCII)

TensorName = Annotated[str, Meta(min_length=1, max_length=200)]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model_url: str
    tensors: Annotated[dict[TensorName, Any], Meta(min_length=1, max_length=MAX_TENSORS)]


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class OnnxTask:
    """The model and tensors of one job."""

    def __init__(
        self, engine: "OnnxEngine", source: str, digest: str, tensors: Mapping[str, Any]
    ) -> None:
        self._engine = engine
        self._digest = digest
        self._tensors = tensors
        self.sources: Mapping[str, str] = {SOURCE: source}

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return what the model makes of the tensors, or nothing of it."""
        digest = await asyncio.to_thread(hash_file, files[SOURCE])
        if digest != self._digest:
            raise InputInvalidError(f"the model's sha256 is {digest}, and the job names another")
        return await self._engine.infer(
            files[SOURCE], self._digest, self._tensors, files[OUTPUT], on_progress, stop
        )


class OnnxEngine:
    """ONNX Runtime, on the GPU where `device` has one that it can use."""

    service = SERVICE
    model = ANY_MODEL

    def __init__(self, sandbox: Sandbox, threads: int, device: Device = CPU) -> None:
        self._sandbox = sandbox
        self._threads = threads
        self._device = device
        self._turn = asyncio.Lock()
        self._interpreter: Interpreter | None = None
        self._known: tuple[Description, str] | None = None

    def read(self, content: Mapping[str, Any]) -> OnnxTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, _ = read_content(content, _Input, _Parameters)
        found = IDENTITY.fullmatch(str(content.get("model")))
        if found is None:
            raise InputInvalidError("the model is named name@sha256, by the hash of its bytes")
        check_tensors(held.tensors)
        return OnnxTask(self, check_source(held.model_url), found[1], held.tensors)

    async def prepare(self) -> Description:
        """See that ONNX Runtime computes, and on what. Raises `EngineFailedError`."""
        description, _ = await self._learn()
        return description

    async def close(self) -> None:
        """Nothing runs between jobs."""

    async def infer(
        self,
        model: Path,
        digest: str,
        tensors: Mapping[str, Any],
        folder: Path,
        on_progress: OnProgress,
        stop: asyncio.Event,
    ) -> EngineResult:
        """Return the model's outputs. Raises `InputInvalidError` and `EngineFailedError`."""
        about, device = await self._learn()
        request = {"device": device, "threads": self._threads, "tensors": tensors}

        def note(line: str) -> None:
            if line == "loaded":
                on_progress(LOADED_PROGRESS, "")

        ending = await self._run(request, device, (Mount(model, MODEL),), folder, note, stop)
        if ending.is_stopped:
            return EngineResult({}, 0, about.text, is_cut=True)
        answer, seconds = await asyncio.to_thread(read_answer, ending, folder)
        return EngineResult(
            {"tensors": answer},
            max(1, math.ceil(seconds)),
            about.text,
            device=about.device,
            pins={**about.pins, "model_sha256": digest},
        )

    async def _learn(self) -> tuple[Description, str]:
        async with self._turn:
            if self._known is None:
                self._known = await self._ask()
            return self._known

    async def _ask(self) -> tuple[Description, str]:
        """Try the devices that may be used, the wanted one first."""
        wanted = self._device.wanted
        devices = {"cpu": ("cpu",), CUDA: (CUDA,), "auto": (CUDA, "cpu")}[wanted]
        self._interpreter = await find_interpreter(None)
        problem = ""
        for device in devices:
            answer, ending = await self._probe(device)
            problem = str(answer["problem"])
            if not problem:
                return self._describe(str(answer["version"]), device, ending), device
        raise EngineFailedError(f"ONNX Runtime does not compute here: {problem}")

    async def _probe(self, device: str) -> tuple[dict[str, Any], Ending]:
        with tempfile.TemporaryDirectory(prefix="aitbc-onnx-") as name:
            folder = Path(name)
            ending = await self._run(
                {"device": device},
                device,
                (),
                folder,
                lambda _: None,
                asyncio.Event(),
                PROBE_LIMITS,
            )
            path = folder / ANSWER
            if not ending.is_good or not path.is_file():
                raise EngineFailedError(
                    f"ONNX Runtime does not run here: {ending.last_words}"[:300]
                )
            answer: dict[str, Any] = json.loads(path.read_bytes())
            return answer, ending

    def _describe(self, version: str, device: str, ending: Ending) -> Description:
        assert self._interpreter is not None
        build = f"onnxruntime {version}"
        parts = (PROVIDERS[device], f"threads {self._threads}", self._interpreter.name)
        return Description(
            engine=build,
            options=", ".join((*parts, describe_sandbox(self._sandbox, ending))),
            device=self._device.describe(CUDA if device == CUDA else describe_processor()),
            model=ANY_MODEL,
            pins=build_pins("", build, threads=self._threads, provider=PROVIDERS[device]),
            has_gpu=device == CUDA,
        )

    async def _run(
        self,
        request: Mapping[str, Any],
        device: str,
        inputs: tuple[Mount, ...],
        folder: Path,
        note: OnLine,
        stop: asyncio.Event,
        limits: Limits = LIMITS,
    ) -> Ending:
        assert self._interpreter is not None
        is_on_gpu = device == CUDA
        command = PROGRAM.build_command(
            self._interpreter,
            self._sandbox,
            MODEL,
            inputs=inputs,
            threads=self._threads,
            environment=self._device.environment if is_on_gpu else {},
            stdin=json.dumps(request).encode(),
            needs_gpu=is_on_gpu,
        )
        return await run_command(self._sandbox, command, limits, folder, note, stop)


def check_tensors(tensors: Mapping[str, Any]) -> None:
    """Raise `InputInvalidError` unless each is nested lists of numbers, bounded in every way."""
    size = 0
    for name, value in tensors.items():
        size += _count(name, value, 0)
        if size > MAX_ELEMENTS:
            raise InputInvalidError(f"the tensors hold more than {MAX_ELEMENTS} numbers")


def _count(name: str, value: Any, rank: int) -> int:
    if type(value) in _NUMBERS:
        return 1
    if type(value) is not list or rank == MAX_RANK:
        raise InputInvalidError(f"{name} is no tensor: up to {MAX_RANK} lists deep, of numbers")
    kinds = {type(each) for each in value}
    if kinds <= {list}:
        return sum(_count(name, each, rank + 1) for each in value)
    # One kind in a row: true among numbers would count as 1.
    if not (kinds <= {int, float} or kinds == {bool}):
        raise InputInvalidError(f"{name} holds what is no number, or lists among numbers")
    return len(value)


def read_answer(ending: Ending, folder: Path) -> tuple[dict[str, Any], float]:
    """Return the tensors that a run left, and the seconds that the model took.

    Raises `InputInvalidError` and `EngineFailedError`.
    """
    check_bounds(ending, "the model")
    check_signal(ending, "the model")
    path = folder / ANSWER
    try:
        if ending.exit_code or path.stat().st_size > MAX_ANSWER_BYTES:
            raise ValueError(ending.last_words[-300:])
        answer = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EngineFailedError(f"ONNX Runtime gave no answer: {error}") from None
    if "invalid" in answer:
        raise InputInvalidError(str(answer["invalid"]))
    if "failed" in answer:
        raise EngineFailedError(str(answer["failed"]))
    return answer["tensors"], float(answer["seconds"])
