"""How long a job takes beside its execution: from POST to a receipt in a final block.

A real node, a real miner with its prover, and an engine of the benchmark's own that answers at
once. Jobs come one at a time to an idle chain. Beside it, in the same run: the block interval, and
the proof alone in an idle process.

Usage: python -m bench.jobs [--jobs 30]
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from aiohttp import web

from bench.network import NODE, Bench, make_wallet, run_bench_node
from bench.settlements import prepare_job, prove_job
from coordinator import accounts
from coordinator.principals import Role
from node import folder
from node.settings import load_settings
from zk.devkey import DEV_KEY_ID

IDLE_SECONDS = 1.2
READY_SECONDS = 60.0
JOB_SECONDS = 60.0
ALLOWANCE = 0.4
"""Seconds beside two block intervals and the proof."""

CLIENT = make_wallet("client")
MINER = make_wallet("miner")


async def answer_at_once(request: web.Request) -> web.StreamResponse:
    """Stream one token: an engine that takes no time."""
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    event = {
        "choices": [{"delta": {"content": "42"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    await response.write(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())
    return response


async def list_models(_request: web.Request) -> web.Response:
    """Name the one model."""
    return web.json_response({"data": [{"id": "trivial"}]})


@asynccontextmanager
async def serve_engine() -> AsyncIterator[str]:
    """Serve the engine; yield its URL."""
    app = web.Application()
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/chat/completions", answer_at_once)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def make_api_keys(data: Path) -> dict[str, str]:
    """Make a custodial client and a self-custody miner in a node's folder; return their keys."""
    from node.server import derive_sealing_key  # noqa: PLC0415 - the server takes a second to load

    settings = load_settings(data=data)
    database = folder.open_database(settings, folder.open_genesis(data))
    sealing = derive_sealing_key(NODE.seed)

    def work(connection: Any) -> dict[str, str]:
        client = accounts.import_account(connection, CLIENT.seed, sealing, 0)
        miner = accounts.find_or_add_account(connection, MINER.address, 0)
        keys = ((client, Role.CLIENT), (miner, Role.MINER))
        return {
            role.value: accounts.create_key(connection, NODE.address, account, role, "", 0).key
            for account, role in keys
        }

    try:
        return database.write_now(work)
    finally:
        database.close_now()


@asynccontextmanager
async def run_miner(bench: Bench, data: Path, api_key: str, engine: str) -> AsyncIterator[None]:
    """Run the real miner on the benchmark's engine."""
    key_file = data / "miner.seed"
    key_file.touch(mode=0o600)
    key_file.write_text(MINER.seed.hex() + "\n")
    settings = {
        "MINER_ID": "bench_miner",
        "API_URLS": json.dumps([bench.url]),
        "API_KEY": api_key,
        "KEY_FILE": str(key_file),
        "DATA_FOLDER": str(data / "miner"),
        "TEXT_ENDPOINT": engine,
        "TEXT_ENDPOINT_MODEL": "trivial",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aitbc.cli.main", "miner", "run",
        env={**os.environ, **{f"AITBC_MINER_{name}": value for name, value in settings.items()}},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await wait_until(lambda: _is_active(bench), READY_SECONDS)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _is_active(bench: Bench) -> bool:
    miners = await bench.get("/explorer/miners")
    return any(miner["is_active"] for miner in miners)


async def wait_until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Return once a condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def run_job(bench: Bench, key: str) -> float:
    """Return the seconds from POST until the receipt is final, less its execution."""
    headers = {"X-Api-Key": key}
    body = {"prompt": f"What is six times seven? {secrets.token_hex(4)}"}
    start = time.perf_counter()
    async with bench.session.post(f"{bench.url}/v1/jobs", json=body, headers=headers) as response:
        assert response.status == 201, await response.text()
        job = (await response.json())["job_id"]
    async with asyncio.timeout(JOB_SECONDS):
        # The explorer's view: final state alone, and reading it often is within no key's limit.
        while (found := await _find_job(bench, job)) != "settled":
            assert found in (None, "queued", "leased"), found
            await asyncio.sleep(0.02)
        # The coordinator follows the chain a few milliseconds behind it.
        url = f"{bench.url}/v1/jobs/{job}/receipt"
        while True:
            receipt = await _find_receipt(bench, url, headers)
            if receipt is not None:
                break
            await asyncio.sleep(0.02)
    taken = time.perf_counter() - start
    execution: int = receipt["completed_ms"] - receipt["started_ms"]
    return taken - execution / 1000


async def _find_job(bench: Bench, job: str) -> str | None:
    """Return how a job stands on chain, None before its escrow is final."""
    async with bench.session.get(f"{bench.url}/explorer/jobs/{job}") as response:
        if response.status == 404:
            return None
        status: str = (await response.json())["status"]
        return status


async def _find_receipt(bench: Bench, url: str, headers: dict[str, str]) -> dict[str, Any] | None:
    """Return the receipt, None while the coordinator has not heard of its settlement."""
    async with bench.session.get(url, headers=headers) as response:
        receipt: dict[str, Any] = await response.json()
        assert response.status in (200, 409), receipt
        return receipt if response.status == 200 else None


def measure_proof(bench: Bench) -> float:
    """Return the seconds of one proof alone, the key loaded."""
    prepared = prepare_job(0, 1_800_000_000_000)
    arguments = (1_800_000_000_000, 1, bench.chain_id, DEV_KEY_ID)
    prove_job(prepared, *arguments)
    start = time.perf_counter()
    prove_job(prepared, *arguments)
    return time.perf_counter() - start


async def run(count: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder_name:
        data = Path(folder_name)
        keys: dict[str, str] = {}

        def prepare(node: Path) -> None:
            keys.update(make_api_keys(node))

        async with (
            serve_engine() as engine,
            run_bench_node(data / "node", [CLIENT, MINER], prepare) as bench,
            run_miner(bench, data, keys["miner"], engine),
        ):
            interval = bench.genesis.parameters.block_interval / 1000
            proof = await asyncio.to_thread(measure_proof, bench)
            await run_job(bench, keys["client"])
            taken = []
            for _ in range(count):
                await asyncio.sleep(IDLE_SECONDS)
                taken.append(await run_job(bench, keys["client"]))
    bound = 2 * interval + proof + ALLOWANCE
    print(f"POST /v1/jobs until the receipt is final, less execution, {count} jobs from idle")
    print(
        f"  p50 {median(taken):6.2f} s (target <= {bound:.2f} s: 2 intervals + proof + {ALLOWANCE})"
    )
    print(f"  p99 {quantiles(taken, n=100)[98]:6.2f} s")
    print(f"  in the same run: block interval {interval:.2f} s, one proof {proof:.2f} s")
    print(f"  p50 over two intervals and the proof: {median(taken) / (bound - ALLOWANCE):.2f}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    asyncio.run(run(parser.parse_args().jobs))


if __name__ == "__main__":
    main()
