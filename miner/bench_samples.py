"""Decides what a machine is measured with: for each kind one small job, made here, always the same.

Sources are made on the spot, by tools of the miner's own: nothing is fetched from anywhere.
"""

import math
import struct
import subprocess
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from miner import bench_model
from miner.engines import (
    blender,
    code,
    code_runtimes,
    embedding,
    image,
    onnx,
    speech,
    text,
    video,
)
from miner.engines.interface import Engine
from miner.settings import MinerSettings

TOOL_SECONDS: Final = 60
ELSEWHERE: Final = "https://sample.invalid/source"
"""Where sources would come from, had they not been made here."""
PROGRAM: Final = """
import hashlib
value = b""
for _ in range(1_000_000):
    value = hashlib.sha256(value).digest()
print(value.hex())
"""
VIDEO_SECONDS: Final = 5
SOUND_SECONDS: Final = 5
SOUND_RATE: Final = 16_000


class Sample(NamedTuple):
    """One job's content, and how its sources are made in a folder: paths by member."""

    input: Mapping[str, Any]
    params: Mapping[str, Any]
    make_files: Callable[[Path, MinerSettings], dict[str, Path]] = lambda folder, settings: {}
    """Raises `OSError` and `subprocess.SubprocessError`."""
    model: str | None = None
    """Where it comes with the job; else the engine's own."""

    def build_content(self, engine: Engine) -> dict[str, Any]:
        """Return the content of the sample's job for an engine."""
        return {
            "service": engine.service,
            "model": self.model or engine.model,
            "input": dict(self.input),
            "params": dict(self.params),
        }


def make_sound(folder: Path, settings: MinerSettings) -> dict[str, Path]:
    """Write five seconds of a rising tone, which a model listens to like to any other sound."""
    path = folder / "tone.wav"
    samples = bytearray()
    for index in range(SOUND_SECONDS * SOUND_RATE):
        seconds = index / SOUND_RATE
        level = 12_000 * math.sin(2 * math.pi * (150 + 40 * seconds) * seconds)
        samples += struct.pack("<h", round(level))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(bytes(samples))
    return {speech.SOURCE: path}


def make_video(folder: Path, settings: MinerSettings) -> dict[str, Path]:
    """Have ffmpeg make five seconds of moving bars, without sound."""
    path = folder / "bars.mp4"
    source = f"testsrc=duration={VIDEO_SECONDS}:size=640x360:rate=25"
    command = [
        str(video.find_program()),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        str(path),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=TOOL_SECONDS)
    return {video.SOURCE: path}


def make_model(folder: Path, settings: MinerSettings) -> dict[str, Path]:
    """Write a small model of ONNX."""
    path = folder / "model.onnx"
    path.write_bytes(bench_model.build_model())
    return {onnx.SOURCE: path}


def make_scene(folder: Path, settings: MinerSettings) -> dict[str, Path]:
    """Have Blender save the scene that it begins with: a cube, a lamp and a camera."""
    environment = settings.blender_environment or blender.ENVIRONMENT
    path = folder / "scene.blend"
    script = "import bpy, sys; bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])"
    command = [str(environment / "bin" / "python"), "-c", script, str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=TOOL_SECONDS)
    return {"blend_file_url": path}


SAMPLES: Final[Mapping[str, Sample]] = {
    text.SERVICE: Sample(
        {"prompt": "Write three sentences about the sea."},
        {"max_tokens": 48, "temperature": 0, "seed": 1},
    ),
    embedding.SERVICE: Sample(
        {"texts": [f"Sentence {number} is about the weather of a day." for number in range(8)]}, {}
    ),
    speech.SERVICE: Sample({speech.SOURCE: ELSEWHERE}, {"language": "en"}, make_sound),
    image.SERVICE: Sample(
        {"prompt": "a red ring on white"}, {"size": "256x256", "num_images": 4, "seed": 1}
    ),
    video.SERVICE: Sample(
        {video.SOURCE: ELSEWHERE}, {"output_format": "mp4", "codec": "h264"}, make_video
    ),
    onnx.SERVICE: Sample(
        {
            onnx.SOURCE: ELSEWHERE,
            "tensors": {bench_model.INPUT: [float(index) for index in range(bench_model.SIDE)]},
        },
        {},
        make_model,
        model=bench_model.IDENTITY,
    ),
    code.SERVICE: Sample({}, {"source": PROGRAM}, model=code_runtimes.PYTHON),
    blender.SERVICE: Sample(
        {"blend_file_url": ELSEWHERE},
        {"resolution_x": 320, "resolution_y": 180, "samples": 16},
        make_scene,
    ),
}
