"""Decides what a whisper_transcription job asks: sound in, timed text out, seconds of it billed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from miner.engines.content import IGNORED_PARAMETERS, check_source, read_content
from miner.engines.interface import OUTPUT, Description, EngineResult, OnProgress
from miner.engines.local import LocalModel
from miner.engines.sound import SoundDecoder
from miner.gpu.device import CPU, Device
from miner.sandbox.interface import Sandbox

SERVICE: Final = "whisper_transcription"
RUNNER: Final = "miner.engines.speech_model"
SOURCE: Final = "audio_url"
AUTOMATIC: Final = "auto"
IGNORED: Final = IGNORED_PARAMETERS | {"response_format", "timestamp_granularities"}
"""What of the result is shown is between the client and its coordinator."""


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    audio_url: str


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    language: Annotated[str, Meta(pattern=r"^([a-z]{2,3}|auto)\Z")] = AUTOMATIC
    task: Literal["transcribe", "translate"] = "transcribe"


class SpeechTask:
    """The sound of one job."""

    def __init__(
        self, model: LocalModel, decoder: SoundDecoder, source: str, parameters: _Parameters
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._parameters = parameters
        self.sources: Mapping[str, str] = {SOURCE: source}

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the transcript, or its beginning."""
        samples = await self._decoder.decode(files[SOURCE], files[OUTPUT], stop)
        if samples is None:
            return EngineResult({}, 0, "", is_cut=True)
        language = self._parameters.language
        request = {
            "path": str(samples),
            "language": None if language == AUTOMATIC else language,
            "task": self._parameters.task,
        }
        reply = await self._model.run(request, on_progress, stop)
        return reply.build_result()


class SpeechEngine:
    """The model whose weights lie at `path`; sound is decoded in the sandbox."""

    service = SERVICE

    def __init__(
        self, model: str, path: Path, sandbox: Sandbox, threads: int, device: Device = CPU
    ) -> None:
        self.model = model
        self._decoder = SoundDecoder(sandbox)
        self._local = LocalModel("speech", RUNNER, model, {"path": str(path)}, threads, device)

    def read(self, content: Mapping[str, Any]) -> SpeechTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        held, parameters = read_content(content, _Input, _Parameters, IGNORED)
        return SpeechTask(self._local, self._decoder, check_source(held.audio_url), parameters)

    async def prepare(self) -> Description:
        """Load the weights. Raises `EngineFailedError`."""
        return await self._local.prepare()

    async def close(self) -> None:
        """Let them go."""
        await self._local.close()
