"""Decides what a text_embedding job asks: texts in, a vector for each out, tokens billed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from miner.engines.content import IGNORED_PARAMETERS, read_content
from miner.engines.interface import Description, EngineResult, OnProgress
from miner.engines.local import LocalModel

SERVICE: Final = "text_embedding"
RUNNER: Final = "miner.engines.embedding_model"
MAX_TEXTS: Final = 200
"""So that the vectors fit the megabyte of JSON that a result may have."""
MAX_TEXT_CHARACTERS: Final = 32_768
IGNORED: Final = IGNORED_PARAMETERS | {"encoding_format"}
"""How the numbers are written is between the client and its coordinator."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    texts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_TEXTS)]


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class EmbeddingTask:
    """The texts of one job."""

    sources: Mapping[str, str] = {}

    def __init__(self, model: LocalModel, texts: tuple[str, ...]) -> None:
        self._model = model
        self._texts = texts

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return their vectors, or the first of them."""
        reply = await self._model.run({"texts": self._texts}, on_progress, stop)
        return reply.build_result()


class EmbeddingEngine:
    """The encoder whose weights lie at `path`."""

    service = SERVICE

    def __init__(self, model: str, path: Path, threads: int) -> None:
        self.model = model
        self._local = LocalModel("embedding", RUNNER, model, {"path": str(path)}, threads)

    def read(self, content: Mapping[str, Any]) -> EmbeddingTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, _ = read_content(content, _Input, _Parameters, IGNORED)
        return EmbeddingTask(self._local, held.texts)

    async def prepare(self) -> Description:
        """Load the weights. Raises `EngineFailedError`."""
        return await self._local.prepare()

    async def close(self) -> None:
        """Let them go."""
        await self._local.close()
