"""Decides what a machine is measured with: for each kind one small job, made here, always the same.

Sources are made on the spot: nothing is fetched from anywhere.
"""

import math
import struct
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from miner.engines import embedding, image, speech, text

SOUND_SECONDS: Final = 5
SOUND_RATE: Final = 16_000


class Sample(NamedTuple):
    """One job's content, and how its sources are made in a folder: paths by member."""

    input: Mapping[str, Any]
    params: Mapping[str, Any]
    make_files: Callable[[Path], dict[str, Path]] = lambda folder: {}

    def build_content(self) -> dict[str, Any]:
        """Return the members of a job's content that are the sample's."""
        return {"input": dict(self.input), "params": dict(self.params)}


def make_sound(folder: Path) -> dict[str, Path]:
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
    return {speech.MEMBER: path}


SAMPLES: Final[Mapping[str, Sample]] = {
    text.SERVICE: Sample(
        {"prompt": "Write three sentences about the sea."},
        {"max_tokens": 48, "temperature": 0, "seed": 1},
    ),
    embedding.SERVICE: Sample(
        {"texts": [f"Sentence {number} is about the weather of a day." for number in range(8)]}, {}
    ),
    speech.SERVICE: Sample(
        {speech.MEMBER: "https://sample.invalid/tone.wav"}, {"language": "en"}, make_sound
    ),
    image.SERVICE: Sample(
        {"prompt": "a red ring on white"}, {"size": "256x256", "num_images": 4, "seed": 1}
    ),
}
