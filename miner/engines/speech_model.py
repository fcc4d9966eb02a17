"""A Whisper model in memory, by faster-whisper: samples in, timed text out."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ctranslate2
import faster_whisper
import numpy as np
from numpy.typing import NDArray

from miner.engines.interface import InputInvalidError
from miner.engines.local_server import Made, OnStep, describe_processor
from miner.engines.sound import RATE
from miner.gpu.backends import choose_backend
from miner.gpu.device import CUDA

COMPUTE_TYPES: Final = {"cpu": "int8", "cuda": "float16"}
"""How numbers are held on each device."""
BEAM: Final = 5

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
        sound = read_samples(Path(request["path"]))
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


def read_samples(path: Path) -> Array:
    """Return what the decoder left. Raises `InputInvalidError` for numbers that are no sound."""
    samples = np.fromfile(path, np.dtype("<f4"))
    if not len(samples) or not np.isfinite(samples).all():
        raise InputInvalidError("the file holds no sound")
    return samples.astype(np.float32, copy=False)


def load(options: Mapping[str, Any]) -> SpeechModel:
    """Return the model whose files lie in the folder of `path`."""
    return SpeechModel(Path(options["path"]).parent, options["threads"], options["device"])
