"""What a job costs the node that takes it: `POST /v1/jobs`, its escrow signed, sent and on chain.

Clients with custodial accounts, some requests open at once; the node's processor time from the
first byte until every job is queued on the chain, and in the same run that of as many signed
transfers (`bench.transfers`), which cost a node little beside their signatures.

Usage: python -m bench.posting [--jobs 1000]
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from bench import transfers
from bench.clients import make_clients, make_keys
from bench.jobs import wait_until
from bench.network import Bench, make_wallet, run_bench_node

TARGET = 300
POSTED_BY_KEY = 25
KEYS = 4
CONNECTIONS = 16
WARM_UP = 20
QUEUED_SECONDS = 30.0
TRANSFERS = 4_000


async def post(bench: Bench, key: str, text: str) -> None:
    """Post one job."""
    async with bench.session.post(
        f"{bench.url}/v1/jobs", json={"prompt": text}, headers={"X-Api-Key": key}
    ) as response:
        assert response.status == 201, await response.text()
        await response.read()


async def measure(bench: Bench, keys: list[str], count: int, title: str) -> tuple[float, float]:
    """Return (node's processor seconds, wall seconds) for one job."""
    turns = asyncio.Semaphore(CONNECTIONS)
    before = (await bench.get("/explorer/stats"))["total_jobs"]

    async def send(number: int) -> None:
        async with turns:
            await post(bench, keys[number % len(keys)], f"{title}, question {number}")

    cpu, wall = bench.read_cpu(), time.perf_counter()
    await asyncio.gather(*map(send, range(count)))

    async def are_queued() -> bool:
        stats = await bench.get("/explorer/stats")
        return bool(stats["total_jobs"] >= before + count)

    await wait_until(are_queued, QUEUED_SECONDS)
    return (bench.read_cpu() - cpu) / count, (time.perf_counter() - wall) / count


async def run(count: int) -> bool:
    """Print the figures; return whether they are within the target."""
    clients = make_clients(max(1, count // (KEYS * POSTED_BY_KEY)))
    keys: list[str] = []

    def prepare(data: Path) -> None:
        made = make_keys(data, clients, KEYS)
        # One account after the other, as users come.
        keys.extend(key for row in zip(*made, strict=True) for key in row)

    senders = [make_wallet(f"sender {number}") for number in range(transfers.SENDERS)]
    with tempfile.TemporaryDirectory() as name:
        node = run_bench_node(Path(name) / "node", [*clients, *senders], prepare)
        async with node as bench:
            await measure(bench, keys, WARM_UP, "warm up")
            cpu, wall = await measure(bench, keys, count, "measured")
            plain, _ = await transfers.measure(bench, TRANSFERS)
    print(f"{count} jobs through POST /v1/jobs, {len(clients)} accounts, until all are on chain")
    print(f"  {1 / cpu:7.0f} a second of the node's processor time (target >= {TARGET})")
    print(f"  {cpu * 1e3:7.2f} ms of it each; {1 / wall:.0f} a second of wall time on this machine")
    print(f"  {plain * 1e3:7.2f} ms a transfer, in the same run: ratio {cpu / plain:.1f}")
    return 1 / cpu >= TARGET


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    raise SystemExit(not asyncio.run(run(parser.parse_args().jobs)))


if __name__ == "__main__":
    main()
