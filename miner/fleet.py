"""Decides where a miner's engines run: on this machine, or on the cluster of the settings."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

from miner.engines.interface import Engine, EngineFailedError
from miner.gpu.announcement import choose_announced
from miner.gpu.device import DeviceMissingError
from miner.kinds import KindUnavailableError
from miner.opening import close_engines, open_engines
from miner.pools.open import open_pool
from miner.settings import MinerSettings


class Fleet(NamedTuple):
    """Engines that are up, by their services."""

    engines: Mapping[str, Engine]
    jobs: int
    """How many are run at a time."""
    gpu_info: dict[str, str]
    """The GPU to announce; empty where nothing computes on one."""
    close: Callable[[], Awaitable[None]]


async def open_fleet(settings: MinerSettings) -> Fleet:
    """Bring up what the settings ask for. Raises `KindUnavailableError`."""
    if settings.pool is not None:
        pool = await open_pool(settings)
        return Fleet(pool.engines, pool.jobs, pool.gpu_info, pool.close)
    engines = await open_engines(settings)
    try:
        gpu_info = await choose_announced(settings, engines)
    except (DeviceMissingError, EngineFailedError) as error:
        await close_engines(engines)
        raise KindUnavailableError(str(error)) from error
    return Fleet(engines, settings.concurrency, gpu_info, partial(close_engines, engines))
