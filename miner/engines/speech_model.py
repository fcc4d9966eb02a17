"""A Whisper model in memory, by faster-whisper, and how sound gets out of a stranger's file.

The container is told from its first bytes and opened as that and nothing else, from memory of ours:
FFmpeg's own guess would take playlists, which name other files and addresses to be read.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
import ctranslate2
import faster_whisper
import numpy as np
from numpy.typing import NDArray

from miner.engines.interface import InputInvalidError
from miner.engines.local_server import Made, OnStep, describe_processor
from miner.gpu.backends import choose_backend
from miner.gpu.device import CUDA

RATE: Final = 16_000
"""Samples a second, as the model takes them."""
MAX_SECONDS: Final = 3_600
COMPUTE_TYPES: Final = {"cpu": "int8", "cuda": "float16"}
"""How numbers are held on each device."""
BEAM: Final = 5
MAGIC_BYTES: Final = 12

Array = NDArray[np.float32]


class SpeechModel:
    """Weights and settings of one model, from a folder in CTranslate2's layout."""

    def __init__(self, folder: Path, threads: int, wanted: str) -> None:
        """`wanted`: `cpu`, `cuda` or `auto`. Raises `DeviceMissingError`."""
        self._threads = threads
        device = choose_backend(
            wanted,
            can_use_gpu=ctranslate2.get_cuda_device_count() > 0,
            engine="ctranslate2",
            remedy="it needs the libraries of CUDA 12 and cuDNN 9, and a GPU that nvidia-smi shows",
        )
        self._model = faster_whisper.WhisperModel(
            str(folder),
            device=device,
            compute_type=COMPUTE_TYPES[device],
            cpu_threads=threads,
        )

    def describe(self) -> dict[str, str]:
        """Return what listens."""
        device = self._model.model.device
        return {
            "engine": f"faster-whisper {faster_whisper.__version__} "
            f"(ctranslate2 {ctranslate2.__version__})",
            "options": f"{COMPUTE_TYPES[device]}, beam {BEAM}, threads {self._threads}",
            "device": CUDA if device == CUDA else describe_processor(),
        }

    def run(self, request: Mapping[str, Any], on_step: OnStep) -> Made:
        """Return the transcript, or of a run that is stopped its segments by then."""
        language, task = request["language"], request["task"]
        is_english = (language or "en", task) == ("en", "transcribe")
        if not self._model.model.is_multilingual and not is_english:
            raise InputInvalidError("this model transcribes English and does nothing else")
        if language is not None and language not in self._model.supported_languages:
            raise InputInvalidError("the model does not know this language")
        with Path(request["path"]).open("rb") as file:
            sound = read_sound(file)
        duration = len(sound) / RATE
        # One temperature: a fall-back to others would draw from chance.
        found, info = self._model.transcribe(
            sound, language=language, task=task, beam_size=BEAM, temperature=0.0
        )
        segments: list[dict[str, Any]] = []
        is_cut = not on_step(0)
        if not is_cut:
            for segment in found:
                segments.append({
                    "start": round(segment.start, 3),
                    "end": round(min(segment.end, duration), 3),
                    "text": segment.text.strip(),
                })  # fmt: skip
                if not on_step(min(99, int(100 * segment.end / duration))):
                    is_cut = segment.end < duration
                    break
        heard = segments[-1]["end"] if is_cut and segments else 0.0 if is_cut else duration
        answer = {
            "text": " ".join(segment["text"] for segment in segments),
            "language": info.language,
            "duration": round(duration, 3),
            "segments": segments,
        }
        return Made(answer if heard else None, math.ceil(heard), is_cut)


def read_sound(file: BinaryIO) -> Array:
    """Return the first audio track as mono samples. Raises `InputInvalidError`."""
    name = find_format(file.read(MAGIC_BYTES))
    if name is None:
        raise InputInvalidError("not WAV, FLAC, MP3, Ogg, MP4, WebM or Matroska")
    file.seek(0)
    pieces: list[Array] = []
    count = 0
    try:
        with av.open(file, "r", format=name) as container:
            if not container.streams.audio:
                raise InputInvalidError("the file holds no sound")
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
            for frame in container.decode(container.streams.audio[0]):
                for piece in resampler.resample(frame):
                    pieces.append(piece.to_ndarray()[0])
                    count += len(pieces[-1])
                if count > MAX_SECONDS * RATE:
                    raise InputInvalidError(f"the sound is longer than {MAX_SECONDS} s")
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    except (av.error.FFmpegError, ValueError) as error:
        raise InputInvalidError(f"the sound does not decode: {error}") from None
    if not count:
        raise InputInvalidError("the file holds no sound")
    return np.concatenate(pieces)


def find_format(magic: bytes) -> str | None:
    """Return FFmpeg's name of the container that begins so."""
    if magic[:4] == b"RIFF" and magic[8:12] == b"WAVE":
        return "wav"
    if magic[4:8] == b"ftyp":
        return "mov"
    beginnings = {
        b"fLaC": "flac",
        b"OggS": "ogg",
        b"ID3": "mp3",
        b"\x1a\x45\xdf\xa3": "matroska",
    }
    for beginning, name in beginnings.items():
        if magic.startswith(beginning):
            return name
    is_frame = len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return "mp3" if is_frame else None


def load(options: Mapping[str, Any]) -> SpeechModel:
    """Return the model whose files lie in the folder of `path`."""
    return SpeechModel(Path(options["path"]).parent, options["threads"], options["device"])
