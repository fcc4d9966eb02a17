"""What Ray adds to a job: the same job on the bare engine and on an engine of a pool, in turns.

A cluster of two nodes on this machine (`pip install 'aitbc[ray]'`), the picture model, which takes
about ten milliseconds. Beside the time of one job at a time: how many two nodes finish together.

Usage: python -m bench.ray_pool [--jobs 200]
"""

import argparse
import asyncio
import importlib.util
import statistics
import time
from collections.abc import Mapping
from typing import Any, Final

from miner.engines.image import SERVICE, ImageEngine
from miner.engines.interface import Engine
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.pools.open import open_pool
from miner.settings import MinerSettings
from tests.support.ray_nodes import serve_ray_nodes

TARGET_MILLISECONDS: Final = 20
WARM_UP: Final = 10
MODEL: Final = "tiny"


async def run_job(engine: Engine, seed: int) -> tuple[float, Mapping[str, Any]]:
    """Return the seconds that a job took, and its answer."""
    content = {
        "input": {"prompt": "a red ring on white"},
        "params": {"size": "64x64", "seed": seed},
    }
    begin = time.perf_counter()
    result = await engine.read(content).run({}, lambda *_: None, asyncio.Event())
    return time.perf_counter() - begin, result.answer


async def measure(pooled: Engine, bare: Engine, count: int) -> bool:
    """Print the figures; return whether they are within the target."""
    times: dict[str, list[float]] = {"bare": [], "pooled": []}
    for number in range(-WARM_UP, count):
        alone, expected = await run_job(bare, number + WARM_UP)
        away, answer = await run_job(pooled, number + WARM_UP)
        assert answer == expected
        if number >= 0:
            times["bare"].append(alone)
            times["pooled"].append(away)
    alone, away = (statistics.median(times[name]) * 1000 for name in ("bare", "pooled"))
    begin = time.perf_counter()
    await asyncio.gather(*(run_job(pooled, number) for number in range(count)))
    together = (time.perf_counter() - begin) / count * 1000
    added = away - alone
    verdict = "ok" if added <= TARGET_MILLISECONDS else "TOO SLOW"
    print(f"bare engine             {alone:6.1f} ms a job")
    print(f"engine of a Ray pool    {away:6.1f} ms a job, {away / alone:.2f} × the bare engine")
    print(f"Ray adds                {added:6.1f} ms (at most {TARGET_MILLISECONDS}): {verdict}")
    print(
        f"two nodes side by side  {together:6.1f} ms a job, {together / away:.2f} × one at a time"
    )
    return added <= TARGET_MILLISECONDS


async def run(count: int) -> bool:
    """Measure on a cluster of its own."""
    store = ModelStore(choose_folder(), load_packaged_lock())
    model = store.lock.find(MODEL)
    assert model is not None
    bare = ImageEngine(model.identity, store.fetch(MODEL), 1)
    try:
        await bare.prepare()
        async with serve_ray_nodes() as nodes:
            given: dict[str, Any] = {"miner_id": "bench", "api_key": "-", "key_file": "-"}
            pool = await open_pool(MinerSettings(**given, kinds=[SERVICE], pool=nodes.address))
            try:
                return await measure(pool.engines[SERVICE], bare, count)
            finally:
                await pool.close()
    finally:
        await bare.close()


def main() -> int:
    """Return 0 when the target is met, or there is no Ray to be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    count = parser.parse_args().jobs
    if importlib.util.find_spec("ray") is None:
        print("not measured: Ray is not installed here (pip install 'aitbc[ray]')")
        return 0
    return 0 if asyncio.run(run(count)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
