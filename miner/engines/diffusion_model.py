"""A pipeline of diffusers in memory: text to pictures by torch, on a GPU or the processor.

Weights are safetensors and code is this library's own: nothing is fetched, and a pipeline that
brings pickles or programs does not load.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from miner.engines.image_model import describe_png, encode_png
from miner.engines.interface import InputInvalidError
from miner.engines.local_server import Made, OnStep, describe_processor
from miner.gpu.backends import choose_backend
from miner.gpu.device import CUDA

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")


class DiffusionModel:
    """A pipeline, and how it is asked."""

    def __init__(self, folder: Path, threads: int, wanted: str) -> None:
        """`wanted`: `cpu`, `cuda` or `auto`. Raises `DeviceMissingError`."""
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
        # torch asks where a file could be written, which an engine may not try (`local_server.py`).
        tempfile.tempdir = os.curdir
        # There it would make a folder for programs that it compiles, which here it never does.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.curdir
        # They take seconds to load, and only this process has them.
        import diffusers  # noqa: PLC0415
        import torch  # noqa: PLC0415

        self._torch = torch
        self._threads = threads
        self._device = choose_backend(
            wanted,
            can_use_gpu=torch.cuda.is_available(),
            engine=f"torch {torch.__version__}",
            remedy="it needs a build for CUDA, and a GPU that nvidia-smi shows",
        )
        self._numbers = torch.float16 if self._device == CUDA else torch.float32
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        self._pipeline = diffusers.DiffusionPipeline.from_pretrained(
            str(folder),
            dtype=self._numbers,
            use_safetensors=True,
            local_files_only=True,
            safety_checker=None,
        ).to(self._device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._step = self._pipeline.vae_scale_factor
        self._build = f"diffusers {diffusers.__version__} (torch {torch.__version__})"

    def describe(self) -> dict[str, str]:
        """Return what draws."""
        scheduler = type(self._pipeline.scheduler).__name__
        numbers = str(self._numbers).removeprefix("torch.")
        return {
            "engine": self._build,
            "options": f"{scheduler}, {numbers}, threads {self._threads}",
            "device": CUDA if self._device == CUDA else describe_processor(),
        }

    def run(self, request: Mapping[str, Any], on_step: OnStep) -> Made:
        """Return the pictures finished by the end, or by the stop."""
        width, height = request["width"], request["height"]
        if width % self._step or height % self._step:
            raise InputInvalidError(f"this model's sizes are multiples of {self._step}")
        count = request["num_images"]
        images: list[dict[str, str]] = []
        for number in range(count):
            data = self._draw(request, number, on_step)
            if data is None:
                break
            images.append(describe_png(data))
        answer = {"images": images, "seed": request["seed"]} if images else None
        return Made(answer, len(images), is_cut=len(images) < count)

    def _draw(self, request: Mapping[str, Any], number: int, on_step: OnStep) -> bytes | None:
        """Return one picture as PNG, or None where the run is to end."""
        count, steps = request["num_images"], request["steps"]
        is_wanted = True

        def report(pipeline: Any, step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
            nonlocal is_wanted
            done = number * steps + step + 1
            is_wanted = is_wanted and on_step(min(99, 100 * done // (count * steps)))
            # What the library asks before each step: it then goes through the rest without work.
            pipeline._interrupt = not is_wanted
            return values

        # Noise of the processor's generator is the same on every device.
        generator = self._torch.Generator("cpu").manual_seed((request["seed"] + number) % 2**32)
        made = self._pipeline(
            prompt=request["prompt"],
            negative_prompt=request["negative_prompt"] or None,
            width=request["width"],
            height=request["height"],
            num_inference_steps=steps,
            generator=generator,
            output_type="np",
            callback_on_step_end=report,
        )
        if not is_wanted:
            return None
        pixels = np.nan_to_num(made.images[0]).clip(0, 1)
        return encode_png((pixels * 255).round().astype(np.uint8))


def load(options: Mapping[str, Any]) -> DiffusionModel:
    """Return the pipeline whose folder is at `path`."""
    return DiffusionModel(Path(options["path"]), options["threads"], options["device"])
