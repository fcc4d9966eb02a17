"""Decides what a video_transcoding job asks: a video in, the same in another form out.

ffmpeg is the one of the package index, in the sandbox. A begun second of what comes out is billed,
by ffmpeg's own count; a run that is cut short leaves nothing and bills nothing.
"""

import asyncio
import importlib.util
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from miner.engines import video_command
from miner.engines.content import check_source, read_content
from miner.engines.interface import (
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
    describe_sandbox,
    run_command,
)
from miner.engines.video_command import GPU_ENCODERS, INPUT, PROGRAM, Codec, Parameters, Settings
from miner.gpu.device import CPU, CUDA, Device
from miner.hashing import hash_file
from miner.sandbox.interface import MIB, Command, Ending, Limits, Mount, OnLine, Sandbox

SERVICE: Final = "video_transcoding"
MODEL: Final = "ffmpeg"
PACKAGE: Final = "imageio_ffmpeg"
SOURCE: Final = "input_url"
LIMITS: Final = Limits(
    memory_bytes=3_072 * MIB,
    cpu_seconds=LONGEST_SECONDS,
    wall_seconds=LONGEST_SECONDS,
    processes=256,
    disk_bytes=256 * MIB,
)
PROBE_LIMITS: Final = Limits(cpu_seconds=30, wall_seconds=30, processes=256, disk_bytes=MIB)
MAX_PROBLEMS: Final = 3
DURATION: Final = re.compile(r"\[info\]   Duration: (\d{2,4}):(\d\d):(\d\d)\.(\d\d),")
PROBLEM: Final = re.compile(r"(?:\[[^\]]{1,80}\] )?\[(?:error|fatal)\] (.+)")
DELAY: Final = 1_000_000
"""Microseconds that what ffmpeg counts may be behind what it writes: pictures are put in order."""
VERSION: Final = re.compile(r"ffmpeg version (\S{1,60}) ")


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input_url: str


class Watch:
    """What ffmpeg says of a run, line by line: how long the input is, and what is written."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._length = 0
        self._problems: list[str] = []
        self._written = 0
        self.frames = 0

    @property
    def duration(self) -> int:
        """Microseconds of output: as counted, or as the input says where that is hardly more."""
        return min(max(self._written, self._length), self._written + DELAY)

    @property
    def problems(self) -> str:
        """What went wrong first."""
        return " / ".join(self._problems)[:400]

    def note(self, line: str) -> None:
        """Read one line. What a stranger's file makes ffmpeg say is never at a line's beginning."""
        key, _, value = line.partition("=")
        if key == "out_time_us" and value.isdigit():
            self._written = max(self._written, int(value))
            if self._length:
                self._on_progress(min(99, 100 * self._written // self._length), "")
        elif key == "frame" and value.strip().isdigit():
            self.frames = int(value)
        elif found := DURATION.match(line):
            hours, minutes, seconds, hundredths = map(int, found.groups())
            self._length = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + hundredths * 10_000
        elif (found := PROBLEM.match(line)) and len(self._problems) < MAX_PROBLEMS:
            self._problems.append(found[1][:200])


class VideoTask:
    """The video of one job."""

    def __init__(self, engine: "VideoEngine", source: str, parameters: Parameters) -> None:
        self._engine = engine
        self._parameters = parameters
        self.sources: Mapping[str, str] = {SOURCE: source}

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the video in its new form, or nothing of it."""
        return await self._engine.transcode(
            self._parameters, files[SOURCE], files[OUTPUT], on_progress, stop
        )


class VideoEngine:
    """The ffmpeg at `program`, on the GPU where `device` is one that encodes."""

    service = SERVICE
    model = MODEL

    def __init__(self, program: Path, sandbox: Sandbox, threads: int, device: Device = CPU) -> None:
        self._program = program
        self._sandbox = sandbox
        self._threads = threads
        self._device = device
        self._turn = asyncio.Lock()
        self._known: tuple[Description, Settings] | None = None

    def read(self, content: Mapping[str, Any]) -> VideoTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, parameters = read_content(content, _Input, Parameters)
        video_command.check_parameters(parameters)
        return VideoTask(self, check_source(held.input_url), parameters)

    async def prepare(self) -> Description:
        """See that ffmpeg runs, and what the GPU encodes. Raises `EngineFailedError`."""
        description, _ = await self._learn()
        return description

    async def close(self) -> None:
        """Nothing runs between jobs."""

    async def transcode(
        self,
        parameters: Parameters,
        source: Path,
        folder: Path,
        on_progress: OnProgress,
        stop: asyncio.Event,
    ) -> EngineResult:
        """Write the video into `folder`. Raises `InputInvalidError` and `EngineFailedError`."""
        about, settings = await self._learn()
        encoder = video_command.choose_encoder(parameters, settings)
        is_on_gpu = encoder in GPU_ENCODERS.values()
        name = f"video.{parameters.output_format}"
        line = video_command.build_line(parameters, settings, name)
        watch = Watch(on_progress)
        ending = await self._run(line, (Mount(source, INPUT),), is_on_gpu, folder, watch.note, stop)
        if ending.is_stopped:
            return EngineResult({}, 0, about.text, is_cut=True)
        check_ending(ending, watch)
        answer = {
            "output_format": parameters.output_format,
            "codec": parameters.codec,
            "duration_ms": watch.duration // 1_000,
            "frames": watch.frames,
        }
        return EngineResult(
            answer,
            max(1, -(-watch.duration // 1_000_000)),
            f"{about.engine}; {encoder}, {about.options}",
            device=self._device.describe(CUDA) if is_on_gpu else describe_processor(),
            pins={**about.pins, "encoder": encoder},
            files=(ResultFile(folder / name, name, video_command.get_media_type(parameters)),),
        )

    async def _learn(self) -> tuple[Description, Settings]:
        async with self._turn:
            if self._known is None:
                self._known = await self._ask()
            return self._known

    async def _ask(self) -> tuple[Description, Settings]:
        digest = await asyncio.to_thread(hash_file, self._program)
        said = ""

        def note(line: str) -> None:
            nonlocal said
            said = said or line

        with tempfile.TemporaryDirectory(prefix="aitbc-ffmpeg-") as folder:
            line = (PROGRAM, "-version")
            ending = await self._run(
                line, (), False, Path(folder), note, asyncio.Event(), PROBE_LIMITS
            )
        found = VERSION.match(said)
        if not ending.is_good or found is None:
            raise EngineFailedError(f"ffmpeg does not run here: {ending.last_words or said}"[:300])
        codecs = await self._find_gpu_codecs()
        settings = Settings(self._threads, has_avx2(), codecs)
        build = f"ffmpeg {found[1]} ({digest[:16]})"
        options = (
            f"threads {self._threads}",
            f"instructions {settings.instructions}",
            describe_sandbox(self._sandbox, ending),
        )
        description = Description(
            engine=build,
            options=", ".join(options),
            device=self._device.describe(CUDA if codecs else describe_processor()),
            model=MODEL,
            pins=build_pins(MODEL, build, threads=self._threads, instructions=settings.instructions)
            | {"ffmpeg_sha256": digest},
            has_gpu=bool(codecs),
        )
        return description, settings

    async def _find_gpu_codecs(self) -> frozenset[Codec]:
        """Return what the GPU encodes. Raises `EngineFailedError` where that was asked for."""
        if self._device.gpu is None:
            return frozenset()
        found: set[Codec] = set()
        words = ""
        for codec in GPU_ENCODERS:
            with tempfile.TemporaryDirectory(prefix="aitbc-ffmpeg-") as folder:
                line, stop = video_command.build_probe(codec), asyncio.Event()
                ending = await self._run(
                    line, (), True, Path(folder), lambda _: None, stop, PROBE_LIMITS
                )
            if ending.is_good:
                found.add(codec)
            words = words or ending.last_words
        if not found and self._device.is_required:
            raise EngineFailedError(f"{self._device.gpu.name} encodes no video: {words}"[:300])
        return frozenset(found)

    async def _run(
        self,
        line: tuple[str, ...],
        inputs: tuple[Mount, ...],
        is_on_gpu: bool,
        folder: Path,
        note: OnLine,
        stop: asyncio.Event,
        limits: Limits = LIMITS,
    ) -> Ending:
        command = Command(
            # Words and progress in one stream, so that both are heard while it runs.
            arguments=("/bin/sh", "-c", 'exec "$@" 2>&1', "sh", *line),
            inputs=(Mount(self._program, PROGRAM), *inputs),
            environment=self._device.environment if is_on_gpu else {},
            needs_gpu=is_on_gpu,
        )
        return await run_command(self._sandbox, command, limits, folder, note, stop)


def check_ending(ending: Ending, watch: Watch) -> None:
    """Raise `InputInvalidError` for a run that made no video."""
    check_bounds(ending, "the video")
    if ending.exit_code:
        raise InputInvalidError(
            f"ffmpeg cannot read or write it: {watch.problems or ending.exit_code}"
        )
    if not watch.frames:
        raise InputInvalidError("there is no picture in it")


def find_program() -> Path:
    """Return the ffmpeg of the installed package. Raises `EngineFailedError`."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [path for folder in folders for path in sorted(Path(folder).glob("binaries/ffmpeg-*"))]
    if len(found) != 1:
        raise EngineFailedError(f"the package {PACKAGE} has no ffmpeg for this machine")
    return found[0]


def has_avx2() -> bool:
    """Tell whether the processor has AVX2, as the kernel says."""
    with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as lines:
        flags = next((line for line in lines if line.startswith("flags")), "")
    return video_command.AVX2 in flags.split()
