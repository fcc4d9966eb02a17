"""How long the API's answers take under a steady mix of requests, while blocks flow.

An open loop from this process against a node in its own: each request goes out at its time whether
or not the ones before are answered, and its time counts from then. Clients post jobs, look at them
and at their lists, read receipts and the registry; anybody reads the explorer and the market.
Beside them, in the same mix, `GET /livez`, which reads nothing.

Usage: python -m bench.api [--rate 200] [--seconds 30]
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.clients import make_clients, make_keys
from bench.network import Bench, run_bench_node

TARGET_MS = 50
CLIENTS, KEYS = 40, 5
FIRST_JOBS = 2
"""Jobs of each client before the measurement."""
BASELINE = "livez"
KINDS = {
    "post a job": 10,
    "get a job": 25,
    "list jobs": 15,
    "list receipts": 8,
    "registry": 8,
    "market": 6,
    "explorer's blocks": 7,
    "explorer's transactions": 7,
    "explorer's job": 5,
    "explorer's totals": 4,
    BASELINE: 5,
}
"""The kinds of requests and their shares, in hundredths."""


class User(NamedTuple):
    """A key and the jobs of its account."""

    key: str
    jobs: list[str]


class Load:
    """Sends the mix and keeps how long each kind took, in milliseconds."""

    def __init__(self, bench: Bench, users: list[User]) -> None:
        self._bench = bench
        self._users = users
        self._random = random.Random(13)
        self._open: set[asyncio.Task[None]] = set()
        self.taken: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def post(self, user: User, text: str) -> None:
        """Post a job and keep its id."""
        url, headers = f"{self._bench.url}/v1/jobs", {"X-Api-Key": user.key}
        async with self._bench.session.post(
            url, json={"prompt": text}, headers=headers
        ) as response:
            assert response.status == 201, await response.text()
            user.jobs.append((await response.json())["job_id"])

    async def run(self, rate: int, seconds: int) -> None:
        """Send so many requests a second for so long; return when all are answered."""
        start = time.perf_counter()
        kinds = self._random.choices(list(KINDS), list(KINDS.values()), k=rate * seconds)
        for number, kind in enumerate(kinds):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._send(kind, number, due))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        await asyncio.gather(*self._open)

    async def _send(self, kind: str, number: int, due: float) -> None:
        user = self._users[number % len(self._users)]
        if kind == "post a job":
            await self.post(user, f"Question {number}")
        else:
            path = self._choose(kind, user)
            headers = {"X-Api-Key": user.key} if path.startswith(("/v1/jobs", "/v1/rec")) else {}
            url = self._bench.url + path
            async with self._bench.session.get(url, headers=headers) as response:
                body = await response.read()
                assert response.status == 200, (path, body)
        self.taken[kind].append((time.perf_counter() - due) * 1e3)

    def _choose(self, kind: str, user: User) -> str:
        job = self._random.choice(user.jobs)
        paths: dict[str, Callable[[], str]] = {
            "get a job": lambda: f"/v1/jobs/{job}",
            "list jobs": lambda: "/v1/jobs?limit=20",
            "list receipts": lambda: "/v1/receipts?limit=20",
            "registry": lambda: "/v1/registry/services",
            "market": lambda: "/v1/marketplace/offers",
            "explorer's blocks": lambda: "/v1/explorer/blocks?limit=20",
            "explorer's transactions": lambda: "/v1/explorer/transactions?limit=20",
            # Of the first ones, whose escrow is final.
            "explorer's job": lambda: f"/explorer/jobs/{user.jobs[0]}",
            "explorer's totals": lambda: "/explorer/stats",
            BASELINE: lambda: "/livez",
        }
        return paths[kind]()


async def run(rate: int, seconds: int) -> bool:
    """Print the figures; return whether they are within the target."""
    clients = make_clients(CLIENTS)
    users: list[User] = []

    def prepare(data: Path) -> None:
        for keys in make_keys(data, clients, KEYS):
            jobs: list[str] = []
            users.extend(User(key, jobs) for key in keys)

    with tempfile.TemporaryDirectory() as name:
        async with run_bench_node(Path(name) / "node", clients, prepare) as bench:
            load = Load(bench, users)
            for user in users[::KEYS] * FIRST_JOBS:
                await load.post(user, f"What was asked before {len(user.jobs)}")
            await bench.wait_nonce(clients[-1], FIRST_JOBS)
            height = (await bench.get("/explorer/stats"))["block_height"]
            cpu = bench.read_cpu()
            await load.run(rate, seconds)
            cpu = bench.read_cpu() - cpu
            blocks = (await bench.get("/explorer/stats"))["block_height"] - height
    every = [each for taken in load.taken.values() for each in taken]
    whole = quantiles(every, n=100)[98]
    base = quantiles(load.taken[BASELINE], n=100)[98]
    print(f"{rate} requests a second for {seconds} s, {blocks} blocks meanwhile")
    print(f"  p99 {whole:6.1f} ms of all (target <= {TARGET_MS} ms), p50 {median(every):.1f} ms")
    print(f"  {whole / base:10.2f} times the p99 of /livez in the same mix, {base:.1f} ms")
    print(f"  {cpu / seconds:10.2f} of one core, {cpu / len(every) * 1e3:.2f} ms a request")
    for kind, taken in load.taken.items():
        print(f"    {kind:<24}p50 {median(taken):6.1f}  p99 {quantiles(taken, n=100)[98]:6.1f} ms")
    return whole <= TARGET_MS


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    raise SystemExit(not asyncio.run(run(chosen.rate, chosen.seconds)))


if __name__ == "__main__":
    main()
