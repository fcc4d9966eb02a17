"""Decides what a miner with a pool runs: its kinds on a cluster's nodes, as if they were here."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from miner.engines import text
from miner.engines.interface import Engine
from miner.kinds import KindUnavailableError
from miner.opening import build_reader
from miner.pools.engine import PooledEngine
from miner.pools.members import Cluster, EngineRefusedError, HostLostError, Members, Shape
from miner.pools.placement import Demand, NoRoomError, plan
from miner.pools.ray_cluster import ClusterUnavailableError, RayCluster
from miner.settings import MinerSettings, PoolShare

STAYS_HERE: Final = frozenset({
    "api_key", "api_urls", "data_folder", "key_file", "key_password_file", "log_json", "pool",
    "pool_shares", "prices", "proving_key_file",
})  # fmt: skip
"""Settings that nodes are not told: secrets, and what is the miner's own."""
GPU: Final = "cuda:0"
"""The GPU that Ray shows an engine, which is the only one it sees."""

log = structlog.get_logger(__name__)


class Pool:
    """The engines of a cluster, by their services."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._members: list[Members] = []
        self.engines: dict[str, Engine] = {}
        self.jobs = 0
        """How many run at a time."""

    @property
    def gpu_info(self) -> dict[str, str]:
        """Return the GPU to announce: the one that all engines with a GPU have."""
        found = [greeting.gpu for members in self._members for greeting in members.greetings]
        return choose_gpu(found)

    async def open(self, settings: MinerSettings) -> None:
        """Bring the engines of all kinds up. Raises `KindUnavailableError`."""
        demands = build_demands(settings)
        try:
            counts = plan(await self._cluster.list_nodes(), demands)
        except (NoRoomError, HostLostError) as error:
            raise KindUnavailableError(str(error)) from error
        try:
            async with asyncio.TaskGroup() as group:
                for demand in demands:
                    group.create_task(self._open_kind(demand, counts[demand.kind], settings))
        except* (EngineRefusedError, HostLostError, KindUnavailableError) as several:
            first = several.exceptions[0]
            raise KindUnavailableError(f"the pool: {first}") from first

    async def close(self) -> None:
        """End the engines and leave the cluster."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._cluster.close)
            for engine in self.engines.values():
                stack.push_async_callback(engine.close)

    async def _open_kind(self, demand: Demand, count: int, settings: MinerSettings) -> None:
        reader = build_reader(demand.kind, settings)
        jobs = settings.concurrency if demand.kind == text.SERVICE else 1
        shape = Shape(demand, choose_node_settings(settings, demand), reader.model, jobs)
        members = Members(self._cluster, shape)
        engine = PooledEngine(members, reader)
        self.engines[demand.kind] = engine
        await members.open(count)
        self._members.append(members)
        self.jobs += count * jobs
        description = await engine.prepare()
        log.info(
            "engines ready",
            kind=demand.kind,
            engines=count,
            engine=description.text,
            device=description.device,
            model=description.model,
        )


async def open_pool(settings: MinerSettings) -> Pool:
    """Return the pool that the settings name, its engines up. Raises `KindUnavailableError`."""
    assert settings.pool is not None
    check_settings(settings)
    cluster = RayCluster(settings.pool)
    pool = Pool(cluster)
    try:
        await cluster.open()
        await pool.open(settings)
    except ClusterUnavailableError as error:
        await pool.close()
        raise KindUnavailableError(str(error)) from error
    except BaseException:
        await pool.close()
        raise
    return pool


def check_settings(settings: MinerSettings) -> None:
    """Refuse what means nothing beside a pool. Raises `KindUnavailableError`."""
    if settings.kinds is None:
        raise KindUnavailableError("a miner with a pool is told which kinds to run: set kinds")
    if settings.text_endpoint is not None:
        raise KindUnavailableError("a text endpoint needs no pool: run a miner of its own for it")
    if settings.image_pipeline is not None:
        raise KindUnavailableError(
            "a pipeline's folder is this machine's: leave image_pipeline out"
        )
    if settings.device.startswith("cuda:"):
        raise KindUnavailableError(
            "in a pool Ray chooses the GPU: leave device out, and set gpus in pool_shares"
        )
    unused = [kind for kind in settings.pool_shares if kind not in settings.kinds]
    if unused:
        raise KindUnavailableError(f"pool_shares names {unused[0]}, which is not among kinds")


def build_demands(settings: MinerSettings) -> list[Demand]:
    """Return what the settings ask of the cluster."""
    demands = []
    for kind in dict.fromkeys(settings.kinds or ()):
        share = settings.pool_shares.get(kind, PoolShare())
        cpus = float(settings.threads) if share.cpus is None else share.cpus
        demands.append(Demand(kind, cpus, share.gpus, share.engines))
    return demands


def choose_node_settings(settings: MinerSettings, demand: Demand) -> dict[str, Any]:
    """Return the settings of one kind's engines on their nodes, without secrets.

    What the operator did not set is left to each node's own environment and defaults.
    """
    chosen = settings.model_dump(mode="json", exclude_unset=True, exclude=set(STAYS_HERE))
    is_on_gpu = demand.gpus > 0 and settings.device == "auto"
    return {
        **chosen,
        "kinds": [demand.kind],
        # A GPU that Ray counts and the driver does not show is refused, never replaced by a CPU.
        "device": GPU if is_on_gpu else "cpu",
        # The settings' class asks for these; no node has an account.
        "api_key": "-",
        "key_file": "-",
    }


def choose_gpu(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the one GPU that all of those found are; where they differ none is announced."""
    different = {tuple(sorted(gpu.items())) for gpu in found if gpu}
    if len(different) > 1:
        log.warning("the pool's GPUs differ, and none is announced", gpus=sorted(different))
        return {}
    return dict(next(iter(different), ()))
