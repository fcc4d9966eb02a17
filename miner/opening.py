"""Decides how an engine comes up for each kind that this miner runs, before it says that it does.

Named kinds must all come up, or the miner does not start.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from miner.engines import blender, code, diffusion, embedding, image, onnx, speech, text, video
from miner.engines.interface import Engine, EngineFailedError
from miner.engines.text_backends import LlamaProcess, RemoteEndpoint
from miner.gpu.announcement import check_claim
from miner.gpu.device import CPU, Device, DeviceMissingError, find_device
from miner.gpu.energy import EnergyMeter, MeteredEngine
from miner.kinds import KINDS, KindUnavailableError, choose_kinds, find_missing_package
from miner.models import (
    ModelMissingError,
    ModelStore,
    PinnedModel,
    load_packaged_lock,
    report_steps,
)
from miner.sandbox.interface import Sandbox, SandboxMissingError
from miner.sandbox.open import find_sandbox
from miner.sandbox.plain import PlainProcess
from miner.settings import MinerSettings

_UNUSED: Final[Sandbox] = PlainProcess()
"""The sandbox of an engine that never runs anything in one."""

log = structlog.get_logger(__name__)


class _Parts(NamedTuple):
    """What an engine is built of, as far as it needs it."""

    model: PinnedModel | None
    path: Path
    """Of its weights or its program."""
    sandbox: Sandbox
    device: Device


async def open_engines(settings: MinerSettings) -> dict[str, Engine]:
    """Return a prepared engine for each kind to run, by its service.

    Fetches the models that are not here. Raises `KindUnavailableError`.
    """
    store = ModelStore(settings.models_folder, load_packaged_lock(), settings.wheels_folder)
    kinds = await asyncio.to_thread(choose_kinds, settings, store)
    engines: dict[str, Engine] = {}
    try:
        device = await asyncio.to_thread(find_device, settings.device)
        meter = None if device.gpu is None else EnergyMeter(device.gpu.uuid)
        for name in kinds:
            engines[name] = await _open_engine(name, settings, store, device)
        for name, engine in list(engines.items()):
            if not (name == text.SERVICE and settings.text_endpoint):
                description = await engine.prepare()
                if description.has_gpu and meter is not None:
                    engines[name] = MeteredEngine(engine, meter)
                log.info(
                    "engine ready",
                    kind=name,
                    engine=description.text,
                    device=description.device,
                    model=description.model,
                )
    except (
        DeviceMissingError, ModelMissingError, EngineFailedError, SandboxMissingError
    ) as error:  # fmt: skip
        await close_engines(engines)
        raise KindUnavailableError(str(error)) from error
    except BaseException:
        await close_engines(engines)
        raise
    return engines


async def close_engines(engines: Mapping[str, Engine]) -> None:
    """End every engine, whatever happens to another."""
    async with contextlib.AsyncExitStack() as stack:
        for engine in engines.values():
            stack.push_async_callback(engine.close)


async def _open_engine(
    name: str, settings: MinerSettings, store: ModelStore, device: Device
) -> Engine:
    if name == text.SERVICE and settings.text_endpoint is not None:
        return await asyncio.to_thread(_open_endpoint, settings, settings.text_endpoint, store)
    if name == image.SERVICE and settings.image_pipeline is not None:
        return await asyncio.to_thread(
            diffusion.open_pipeline, settings.image_pipeline, settings.threads, device
        )
    missing = find_missing_package(name)
    if missing is not None:
        raise KindUnavailableError(
            f"{name} needs the package {missing}: pip install 'aitbc[{KINDS[name].extra}]'"
        )
    model, path, sandbox = None, Path(), _UNUSED
    if KINDS[name].model:
        model = _find_model(name, settings, store)
        path = await asyncio.to_thread(_fetch, store, model.identity)
    elif name == video.SERVICE:
        path = await asyncio.to_thread(video.find_program)
    if KINDS[name].needs_sandbox:
        sandbox = await find_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
    return _build_engine(name, settings, _Parts(model, path, sandbox, device))


def _fetch(store: ModelStore, identity: str) -> Path:
    def say(percent: int) -> None:
        log.info("fetching", model=identity, percent=percent)

    return store.fetch(identity, report_steps(say))


def build_reader(name: str, settings: MinerSettings) -> Engine:
    """Return a kind's engine that only reads contents: it runs elsewhere, with its model there.

    Raises `KindUnavailableError`.
    """
    if KINDS[name].is_foreign:
        raise KindUnavailableError(f"{name} runs on the miner's own machine, in no pool")
    model = None
    if KINDS[name].model:
        store = ModelStore(settings.models_folder, load_packaged_lock())
        model = _find_model(name, settings, store)
    return _build_engine(name, settings, _Parts(model, Path(), _UNUSED, CPU))


def _find_model(name: str, settings: MinerSettings, store: ModelStore) -> PinnedModel:
    wanted = settings.text_model if name == text.SERVICE else KINDS[name].model
    model = store.lock.find(wanted)
    if model is None or model.service != name:
        raise KindUnavailableError(f"{wanted!r} is no model of the lock for {name}")
    return model


def _build_engine(name: str, settings: MinerSettings, parts: _Parts) -> Engine:
    model, path, sandbox, device = parts
    identity = "" if model is None else model.identity
    match name:
        case text.SERVICE:
            backend = LlamaProcess(
                path,
                identity.partition("@")[0],
                threads=settings.threads,
                context=settings.context_tokens,
                slots=settings.concurrency,
                gpu_layers=settings.gpu_layers,
                device=device,
            )
            return text.TextEngine(identity, backend)
        case embedding.SERVICE:
            return embedding.EmbeddingEngine(identity, path, settings.threads)
        case speech.SERVICE:
            return speech.SpeechEngine(identity, path, sandbox, settings.threads, device)
        case image.SERVICE:
            return image.ImageEngine(identity, path, settings.threads)
        case onnx.SERVICE:
            return onnx.OnnxEngine(sandbox, settings.threads, device)
        case video.SERVICE:
            return video.VideoEngine(path, sandbox, settings.threads, device)
        case code.SERVICE:
            return code.CodeEngine(sandbox, settings.code_environment, settings.threads)
        case _:
            environment = settings.blender_environment or blender.ENVIRONMENT
            return blender.BlenderEngine(sandbox, environment, settings.threads, device)


def _open_endpoint(settings: MinerSettings, url: str, store: ModelStore) -> Engine:
    """Return the text engine of a server that the operator runs and answers for.

    Raises `DeviceMissingError`.
    """
    served = settings.text_endpoint_model or settings.text_model
    key = settings.text_endpoint_key.get_secret_value()
    model = store.lock.find(settings.text_model)
    identity = settings.text_model if model is None else model.identity
    claim = check_claim(settings)
    gpu = claim.get("name") or claim.get("memory", "")
    return text.TextEngine(identity, RemoteEndpoint(url, served, key, gpu))
