"""Decides what a blender_rendering job asks: a scene in, pictures of its frames out, each billed.

Blender runs in the sandbox, by the Python of an environment of its own (`make engines`), and
renders with Cycles. A run that was stopped has made nothing: its pictures go with the sandbox.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ledger.faults import Reason
from miner.engines import blender_runner
from miner.engines.content import Seed, check_source, read_content
from miner.engines.interface import (
    MAX_RESULT_BYTES,
    MAX_RESULT_FILES,
    OUTPUT,
    Description,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    ResultFile,
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
from miner.engines.sandboxed_python import Interpreter, find_interpreter
from miner.gpu.device import CUDA, Device
from miner.sandbox.interface import MIB, WORK, Command, Ending, Limits, Mount, Sandbox

SERVICE: Final = "blender_rendering"
MODEL: Final = "blender"
VERSION: Final = "5.0.1"
SOURCE: Final = "blend_file_url"
ENVIRONMENT: Final = Path(".venv-blender")
SCENE: Final = "/input/scene.blend"
RUNNER: Final = "/runner/blender.py"
NAME: Final = "frame_%04d.png"
MEMORY_BYTES: Final = 8_192 * MIB
PROCESSES: Final = 512
"""Threads are counted too, and Blender has some for each core."""
START_SECONDS: Final = 120

Side = Annotated[int, Meta(ge=16, le=8_192)]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    blend_file_url: str


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    engine: Literal["cycles"] = "cycles"
    resolution_x: Side = 1_920
    resolution_y: Side = 1_080
    samples: Annotated[int, Meta(ge=1, le=16_384)] = 128
    first_frame: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    frames: Annotated[int, Meta(ge=1, le=MAX_RESULT_FILES)] = 1
    seed: Seed = 0


class RenderResourceMissingError(EngineFailedError):
    """Another miner may have what the job asks for."""

    reason = Reason.RESOURCES_MISSING


class Told:
    """What Blender said of itself and of its work."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self.facts: dict[str, Any] = {}
        self._on_progress = on_progress

    def add(self, line: str) -> None:
        """Take a line; what is no message was foreign, and means nothing."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(message, dict):
            self.facts |= message
            if self._on_progress is not None and type(message.get("progress")) is int:
                self._on_progress(max(0, min(99, message["progress"])), "")

    def check(self, ending: Ending) -> None:
        """Raise `InputInvalidError` or `EngineFailedError` unless all of it was done."""
        if "invalid" in self.facts:
            raise InputInvalidError(str(self.facts["invalid"]))
        if "missing" in self.facts:
            raise RenderResourceMissingError(str(self.facts["missing"]))
        if "failed" in self.facts or not ending.is_good:
            words = self.facts.get("failed") or ending.last_words or f"code {ending.exit_code}"
            raise EngineFailedError(f"Blender failed: {words}"[:500])
        if not {"version", "build", "device", "backend"} <= set(self.facts):
            raise EngineFailedError("Blender does not say what it is")


class Blender:
    """Blender in its sandbox."""

    def __init__(
        self, sandbox: Sandbox, interpreter: Interpreter, threads: int, device: Device
    ) -> None:
        self.threads = threads
        self._sandbox = sandbox
        self._interpreter = interpreter
        self._device = device

    async def run(
        self,
        orders: Mapping[str, Any],
        scene: tuple[Mount, ...],
        output: Path,
        told: Told,
        stop: asyncio.Event,
        seconds: int = LONGEST_SECONDS,
    ) -> Ending:
        """Return how a run ended. Raises `EngineFailedError` where it did not come to one."""
        command = Command(
            arguments=self._interpreter.build_line(RUNNER),
            inputs=(
                *self._interpreter.mounts,
                Mount(Path(blender_runner.__file__), RUNNER),
                *scene,
            ),
            environment={
                **self._interpreter.build_variables(self.threads),
                **self._device.environment,
            },
            stdin=json.dumps({**orders, "device": self._device.wanted}).encode(),
            needs_gpu=self._device.gpu is not None,
        )
        limits = Limits(
            memory_bytes=MEMORY_BYTES,
            cpu_seconds=seconds * max(4, self.threads),
            wall_seconds=seconds,
            processes=PROCESSES,
            disk_bytes=MAX_RESULT_BYTES,
            open_files=1_024,
        )
        return await run_command(self._sandbox, command, limits, output, told.add, stop)

    def describe(self, facts: Mapping[str, Any], ending: Ending) -> Description:
        """Return what ran, by its own word."""
        active = str(facts["device"])
        engine = f"Blender {facts['version']} ({facts['build']}), Cycles"
        if active == CUDA:
            engine += f" by {facts['backend']}"
        return Description(
            engine=engine,
            options=f"threads {self.threads}, {describe_sandbox(self._sandbox, ending)}",
            device=self._device.describe(CUDA if active == CUDA else describe_processor()),
            model=MODEL,
            pins=build_pins(MODEL, engine, threads=self.threads),
            has_gpu=active == CUDA,
        )


class RenderTask:
    """The frames of one job."""

    def __init__(self, blender: Blender, parameters: _Parameters, source: str) -> None:
        self._blender = blender
        self._parameters = parameters
        self.sources: Mapping[str, str] = {SOURCE: source}

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the pictures of all frames; of a run that was stopped, none."""
        wanted, output, told = self._parameters, files[OUTPUT], Told(on_progress)
        numbers = range(wanted.first_frame, wanted.first_frame + wanted.frames)
        orders = {
            "scene": SCENE,
            "folder": WORK,
            "name": NAME,
            "numbers": list(numbers),
            "resolution_x": wanted.resolution_x,
            "resolution_y": wanted.resolution_y,
            "samples": wanted.samples,
            "seed": wanted.seed,
            "threads": self._blender.threads,
        }
        scene = (Mount(files[SOURCE], SCENE),)
        ending = await self._blender.run(orders, scene, output, told, stop)
        if ending.is_stopped:
            return EngineResult({}, 0, "", is_cut=True)
        check_bounds(ending, "the scene")
        check_signal(ending, "the scene")
        told.check(ending)
        pictures = [ResultFile(output / (NAME % n), NAME % n, "image/png") for n in numbers]
        missing = next((picture.name for picture in pictures if not picture.path.is_file()), None)
        if missing is not None:
            raise EngineFailedError(f"Blender left no {missing}")
        about = self._blender.describe(told.facts, ending)
        return EngineResult(
            {
                "frames": wanted.frames,
                "first_frame": wanted.first_frame,
                "width": wanted.resolution_x,
                "height": wanted.resolution_y,
                "are_scripts_refused": bool(told.facts.get("are_scripts_refused")),
            },
            wanted.frames,
            about.text,
            device=about.device,
            pins={**about.pins, "samples": str(wanted.samples), "seed": str(wanted.seed)},
            files=tuple(pictures),
        )


class BlenderEngine:
    """The Blender of an environment that `make engines` made, or another like it."""

    service = SERVICE
    model = MODEL

    def __init__(self, sandbox: Sandbox, environment: Path, threads: int, device: Device) -> None:
        self._sandbox = sandbox
        self._environment = environment
        self._threads = threads
        self._device = device
        self._blender: Blender | None = None
        self._description: Description | None = None

    def read(self, content: Mapping[str, Any]) -> RenderTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, parameters = read_content(content, _Input, _Parameters)
        if self._blender is None:
            raise EngineFailedError("the engine is not prepared")
        return RenderTask(self._blender, parameters, check_source(held.blend_file_url))

    async def prepare(self) -> Description:
        """Ask Blender what it is, once. Raises `EngineFailedError`."""
        if self._description is None:
            self._blender = Blender(
                self._sandbox, await self._find_interpreter(), self._threads, self._device
            )
            self._description = await self._ask(self._blender)
        return self._description

    async def close(self) -> None:
        """Nothing of it runs between jobs."""

    async def _find_interpreter(self) -> Interpreter:
        if not (self._environment / "bin" / "python").exists():
            raise EngineFailedError(
                f"there is no Blender at {self._environment}: `make engines` puts it there; else "
                f"`python3.11 -m venv FOLDER && FOLDER/bin/pip install bpy=={VERSION}`, and "
                "blender_environment = FOLDER"
            )
        return await find_interpreter(self._environment)

    async def _ask(self, blender: Blender) -> Description:
        told = Told()
        with tempfile.TemporaryDirectory(prefix="aitbc-") as folder:
            output = Path(folder)
            ending = await blender.run({}, (), output, told, asyncio.Event(), START_SECONDS)
        told.check(ending)
        if told.facts["version"] != VERSION:
            raise EngineFailedError(
                f"{self._environment} has Blender {told.facts['version']}, not {VERSION}"
            )
        return blender.describe(told.facts, ending)
