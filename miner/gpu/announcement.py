"""Decides which GPU a miner announces: what was measured, never what was merely claimed.

The settings' `gpu_name` and `gpu_memory` are about the text endpoint, which is not ours to look
into. Where it is on this machine the driver has to show such a GPU, and what it shows is announced;
where it is elsewhere the operator's word stands, and receipts say whose word it is.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from miner.engines.interface import Engine
from miner.gpu.device import DeviceMissingError, find_device
from miner.gpu.hardware import Gpu
from miner.gpu.nvml import find_gpus
from miner.settings import MinerSettings

MEBIBYTE: Final = 2**20


def measure(gpu: Gpu) -> dict[str, str]:
    """Return how a GPU of this machine is announced."""
    memory = {"memory": f"{gpu.memory // MEBIBYTE}MiB"} if gpu.memory else {}
    return {"name": gpu.name, **memory}


def check_claim(settings: MinerSettings) -> dict[str, str]:
    """Return the GPU that the text endpoint computes on; nothing where none is claimed.

    Blocking. Raises `DeviceMissingError` for a claim that this machine contradicts.
    """
    claim = {
        name: value
        for name, value in (("name", settings.gpu_name), ("memory", settings.gpu_memory))
        if value
    }
    if settings.text_endpoint is None:
        return {}
    if not claim or not is_here(settings.text_endpoint):
        return claim
    found = find_gpus()
    named = settings.gpu_name.casefold()
    for gpu in found.gpus:
        if named in gpu.name.casefold():
            return measure(gpu)
    there = ", ".join(gpu.name for gpu in found.gpus) or "none"
    raise DeviceMissingError(
        f"gpu_name and gpu_memory claim a GPU for a text endpoint on this machine; of GPUs there "
        f"is here: {there}. {found.problem or 'Correct gpu_name, or leave both out'}"
    )


async def choose_announced(
    settings: MinerSettings, engines: Mapping[str, Engine]
) -> dict[str, str]:
    """Return the `gpu_info` to announce; empty where nothing computes on a GPU.

    Raises `DeviceMissingError` for a claim that does not hold, and `EngineFailedError`.
    """
    claim = await asyncio.to_thread(check_claim, settings)
    local = [engine for engine in engines.values() if not _is_endpoint(settings, engine)]
    if await _uses_gpu(local):
        gpu = (await asyncio.to_thread(find_device, settings.device)).gpu
        assert gpu is not None
        return measure(gpu)
    if not claim and (settings.gpu_name or settings.gpu_memory):
        raise DeviceMissingError(
            "gpu_name and gpu_memory claim a GPU, and no engine of this miner computes on one; "
            "GPUs of this machine are measured: leave both out"
        )
    return claim


def is_here(url: str) -> bool:
    """Tell whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_endpoint(settings: MinerSettings, engine: Engine) -> bool:
    return settings.text_endpoint is not None and engine.service == "llm_inference"


async def _uses_gpu(engines: Iterable[Engine]) -> bool:
    return any([(await engine.prepare()).has_gpu for engine in engines])
