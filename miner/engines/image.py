"""Decides what a stable_diffusion job asks: a prompt in, pictures out, each of them billed."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from miner.engines.content import IGNORED_PARAMETERS, Seed, derive_seed, read_content
from miner.engines.interface import Description, EngineResult, InputInvalidError, OnProgress
from miner.engines.local import LocalModel
from miner.gpu.device import CPU, Device

SERVICE: Final = "stable_diffusion"
RUNNER: Final = "miner.engines.image_model"
MAX_PROMPT_CHARACTERS: Final = 4_000
MAX_IMAGES: Final = 10
MIN_SIDE: Final = 16
MAX_SIDE: Final = 2_048
SIZE: Final = re.compile(r"([0-9]{2,4})x([0-9]{2,4})", re.ASCII)
IGNORED: Final = IGNORED_PARAMETERS | {"response_format"}
"""How the pictures are handed over is between the client and its coordinator."""

Prompt = Annotated[str, Meta(max_length=MAX_PROMPT_CHARACTERS)]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt: Prompt
    negative_prompt: Prompt = ""


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: str = "512x512"
    num_images: Annotated[int, Meta(ge=1, le=MAX_IMAGES)] = 1
    steps: Annotated[int, Meta(ge=1, le=150)] = 20
    seed: Seed | None = None


class ImageTask:
    """The pictures of one job."""

    sources: Mapping[str, str] = {}

    def __init__(self, model: LocalModel, request: Mapping[str, Any]) -> None:
        self._model = model
        self._request = request

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the pictures, or the first of them."""
        reply = await self._model.run(self._request, on_progress, stop)
        return reply.build_result(seed=str(self._request["seed"]))


class ImageEngine:
    """The model whose weights lie at `path`, by the module that runs such weights."""

    service = SERVICE

    def __init__(
        self,
        model: str,
        path: Path,
        threads: int,
        device: Device = CPU,
        runner: str = RUNNER,
    ) -> None:
        self.model = model
        self._local = LocalModel("image", runner, model, {"path": str(path)}, threads, device)

    def read(self, content: Mapping[str, Any]) -> ImageTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, parameters = read_content(content, _Input, _Parameters, IGNORED)
        match = SIZE.fullmatch(parameters.size)
        width, height = (int(side) for side in match.groups()) if match is not None else (0, 0)
        if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
            raise InputInvalidError(f"size is WIDTHxHEIGHT, each from {MIN_SIDE} to {MAX_SIDE}")
        seed = parameters.seed if parameters.seed is not None else derive_seed(content)
        return ImageTask(
            self._local,
            {
                "prompt": held.prompt,
                "negative_prompt": held.negative_prompt,
                "width": width,
                "height": height,
                "num_images": parameters.num_images,
                "steps": parameters.steps,
                "seed": seed,
            },
        )

    async def prepare(self) -> Description:
        """Load the weights. Raises `EngineFailedError`."""
        return await self._local.prepare()

    async def close(self) -> None:
        """Let them go."""
        await self._local.close()
