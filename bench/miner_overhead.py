"""What the miner itself costs beside its engine: time of a job, a first token, ten jobs at once.

A real node and a real miner as processes. A job's overhead is from the lease's answer until the
result comes in, less the bare engine's time for the same job and the job's own proof; in a sandbox,
what that adds to a bare process comes to it. A first token is timed from the engine's hand to the
client's. Ten jobs run side by side on one llama.cpp, and the same ten requests on it bare.

Usage: python -m bench.miner_overhead [--jobs 10] [--width 10]
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import web

from bench.jobs import CLIENT, MINER, make_api_keys, wait_until
from bench.miner_wire import Gate, PacedEngine, Witness, list_models, serve
from bench.network import Bench, run_bench_node
from miner.engines.image import ImageEngine
from miner.engines.text_backends import LlamaProcess
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import Command, Limits, Sandbox, SandboxMissingError
from miner.sandbox.plain import PlainProcess

BARE_MS: Final = 150
SANDBOXED_MS: Final = 250
FIRST_TOKEN_MS: Final = 50
LOSS: Final = 0.10
READY_SECONDS: Final = 60.0
JOB_SECONDS: Final = 120.0
ANSWER_TOKENS: Final = 48
ROUNDS: Final = 3
IMAGE: Final = {"input": {"prompt": "a red ring on white"}, "params": {"size": "64x64", "seed": 1}}
SMALL: Final = Limits(
    memory_bytes=2**30, cpu_seconds=10, wall_seconds=20.0, processes=16, disk_bytes=2**20,
    open_files=64,
)  # fmt: skip


class Scene(NamedTuple):
    """A running node with its keys, and where everything lies."""

    bench: Bench
    keys: dict[str, str]
    data: Path

    async def post(self, body: dict[str, Any]) -> str:
        """Post a job of the client's and return its id."""
        headers = {"X-Api-Key": self.keys["client"]}
        async with self.bench.session.post(
            f"{self.bench.url}/v1/jobs", json=body, headers=headers
        ) as response:
            assert response.status == 201, await response.text()
            return str((await response.json())["job_id"])

    async def wait_settled(self, job: str) -> None:
        """Return once a job's settlement is final."""

        async def is_settled() -> bool:
            url = f"{self.bench.url}/explorer/jobs/{job}"
            async with self.bench.session.get(url) as response:
                return response.status == 200 and (await response.json())["status"] == "settled"

        await wait_until(is_settled, JOB_SECONDS)

    @asynccontextmanager
    async def run_miner(self, name: str, **settings: str) -> AsyncIterator[Path]:
        """Run the real miner until it is registered; yield its log."""
        key_file, log = self.data / "miner.seed", self.data / f"{name}.log"
        key_file.touch(mode=0o600)
        key_file.write_text(MINER.seed.hex() + "\n")
        given = {
            "MINER_ID": name,
            "API_URLS": json.dumps([self.bench.url]),
            "API_KEY": self.keys["miner"],
            "KEY_FILE": str(key_file),
            "DATA_FOLDER": str(self.data / name),
            "LOG_JSON": "true",
            **settings,
        }
        environment = {f"AITBC_MINER_{key}": text for key, text in given.items()}
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "aitbc.cli.main", "miner", "run",
                env={**os.environ, **environment}, stderr=sink,
            )  # fmt: skip

        async def is_active() -> bool:
            assert process.returncode is None, log.read_text()
            miners = await self.bench.get("/explorer/miners")
            return any(miner["miner_id"] == name and miner["is_active"] for miner in miners)

        try:
            await wait_until(is_active, READY_SECONDS)
            yield log
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def read_proofs(log: Path) -> dict[str, float]:
    """Return how many seconds each job's proof took, as the miner says."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {line["job"]: line["proof_ms"] / 1000 for line in lines if line["event"] == "handed in"}


async def measure_image(engine: ImageEngine) -> float:
    """Return the seconds of the job on the bare engine."""
    begin = time.perf_counter()
    await engine.read(IMAGE).run({}, lambda *_: None, asyncio.Event())
    return time.perf_counter() - begin


async def measure_jobs(scene: Scene, count: int) -> tuple[float, float]:
    """Return the seconds of the miner's own in a job, and of the bare engine; medians."""
    store = ModelStore(choose_folder(), load_packaged_lock())
    model = store.lock.find("tiny")
    assert model is not None
    engine = ImageEngine(model.identity, store.fetch("tiny"), 1)
    async with aiohttp.ClientSession() as session:
        witness = Witness(scene.bench.url, session)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", witness.pass_on)
        settings = {"KINDS": '["stable_diffusion"]', "POLL_SECONDS": "5"}
        async with (
            serve(app) as url,
            scene.run_miner("bench_image", API_URLS=json.dumps([url]), **settings) as log,
        ):
            await engine.prepare()
            jobs, bare = [], []
            for number in range(-1, count):
                alone = await measure_image(engine)
                job = await scene.post({"type": "stable_diffusion", **IMAGE, "name": str(number)})
                await scene.wait_settled(job)
                if number >= 0:
                    jobs.append(job)
                    bare.append(alone)
            await asyncio.sleep(1)  # the miner looks for the last settlement's block
    await engine.close()
    proofs, alone = read_proofs(log), median(bare)
    own = [witness.handed_in[job] - witness.leased[job] - proofs[job] - alone for job in jobs]
    return median(own), alone


async def measure_process(sandbox: Sandbox, folder: Path) -> float:
    """Return the seconds of a process that does nothing."""
    command = Command(arguments=("/usr/bin/true",), inputs=(), environment={})
    with tempfile.TemporaryDirectory(dir=folder) as output:
        begin = time.perf_counter()
        await sandbox.run(command, SMALL, Path(output), lambda _: None, asyncio.Event())
        return time.perf_counter() - begin


async def measure_sandbox(folder: Path, count: int) -> tuple[float, float] | None:
    """Return the seconds of a process in the sandbox, and of a bare one; None without one."""
    try:
        sandbox = await asyncio.to_thread(Bubblewrap.open)
    except SandboxMissingError as error:
        print(f"  the sandbox is not measured: {error}")
        return None
    kinds: tuple[Sandbox, Sandbox] = (sandbox, PlainProcess())
    taken = [[await measure_process(kind, folder) for kind in kinds] for _ in range(count)]
    inside, outside = zip(*taken, strict=True)
    return median(inside), median(outside)


async def read_first(scene: Scene, job: str) -> float:
    """Follow a job's events to its first text; return when it came."""
    headers = {"X-Api-Key": scene.keys["client"]}
    url = f"{scene.bench.url}/v1/jobs/{job}/stream"
    async with scene.bench.session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.strip() == b"event: delta":
                return time.perf_counter()
    raise AssertionError("the job ended without a text")


async def measure_first_token(scene: Scene, count: int) -> float:
    """Return the seconds from the engine's first token to the client's; median."""
    engine = PacedEngine()
    app = build_engine(engine.complete)
    async with serve(app) as url, scene.run_miner("bench_text", **name_engine(url)):
        taken = []
        for number in range(-1, count):
            job = await scene.post({"prompt": f"question {number}", "params": {"max_tokens": 16}})
            arrived = await read_first(scene, job)
            if number >= 0:
                taken.append(arrived - engine.first[-1])
            await scene.wait_settled(job)
    return median(taken)


def build_engine(complete: Callable[[web.Request], Any]) -> web.Application:
    """Return an OpenAI-compatible server."""
    app = web.Application()
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/chat/completions", complete)
    return app


def name_engine(url: str) -> dict[str, str]:
    """Return the settings of a miner for an engine of ours."""
    return {"KINDS": '["llm_inference"]', "TEXT_ENDPOINT": url, "TEXT_ENDPOINT_MODEL": "served"}


async def ask_bare(url: str, bodies: list[bytes]) -> None:
    """Ask an engine all of it at once."""
    async with aiohttp.ClientSession() as session:

        async def ask(body: bytes) -> None:
            headers = {"Content-Type": "application/json"}
            async with session.post(
                f"{url}/v1/chat/completions", data=body, headers=headers
            ) as response:
                await response.read()

        await asyncio.gather(*map(ask, bodies))


async def measure_width(scene: Scene, width: int) -> tuple[float, float]:
    """Return the tokens a second of so many jobs side by side, and of the engine asked bare.

    In turns, the best of each: what else the machine does only ever takes something away.
    """
    store = ModelStore(choose_folder(), load_packaged_lock())
    path = store.fetch("smollm2-135m")
    llama = LlamaProcess(path, "served", threads=1, context=256, slots=width)
    gates: list[Gate] = []

    async def complete(request: web.Request) -> web.StreamResponse:
        return await gates[-1].complete(request)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(JOB_SECONDS)) as session:
        try:
            endpoint = await llama.ensure()
            async with serve(build_engine(complete)) as url:
                settings = {**name_engine(url), "CONCURRENCY": str(width), "CONTEXT_TOKENS": "256"}
                async with scene.run_miner("bench_wide", **settings):
                    for number in range(ROUNDS):
                        gates.append(Gate(endpoint.url, endpoint.key, session, width))
                        await run_side_by_side(scene, width, f"round {number}")
                        bodies = gates[-1].bodies
                        gates.append(Gate(endpoint.url, endpoint.key, session, width))
                        await ask_bare(url, bodies)
        finally:
            await llama.close()
    rates = [gate.throughput for gate in gates]
    return max(rates[::2]), max(rates[1::2])


async def run_side_by_side(scene: Scene, width: int, title: str) -> None:
    """Return once so many jobs are settled that their miner ran together."""
    jobs = [
        await scene.post(
            {
                "prompt": f"Tell a long story about the number {number}, {title}.",
                "params": {"max_tokens": ANSWER_TOKENS},
            }
        )
        for number in range(width)
    ]
    for job in jobs:
        await scene.wait_settled(job)


async def run(count: int, width: int) -> bool:
    """Print the figures; return whether they are within the targets."""
    keys: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        node = run_bench_node(
            data / "node", [CLIENT, MINER], lambda made: keys.update(make_api_keys(made))
        )
        async with node as bench:
            scene = Scene(bench, keys, data)
            own, engine = await measure_jobs(scene, count)
            boxed = await measure_sandbox(data, count)
            first = await measure_first_token(scene, count)
            together, alone = await measure_width(scene, width)
    print(f"the miner beside its engine, medians of {count} jobs; load {os.getloadavg()[0]:.1f}")
    print(f"  {own * 1e3:6.1f} ms of its own in a job (target <= {BARE_MS} ms)")
    print(f"    in the same run: the bare engine {engine * 1e3:.1f} ms; ratio {own / engine:.1f}")
    is_good = own * 1e3 <= BARE_MS
    if boxed is not None:
        inside, outside = boxed
        whole = own + inside - outside
        print(f"  {whole * 1e3:6.1f} ms with a sandbox (target <= {SANDBOXED_MS} ms)")
        print(
            f"    in the same run: a process in it {inside * 1e3:.1f} ms, a bare one "
            f"{outside * 1e3:.1f} ms; ratio {inside / outside:.1f}"
        )
        is_good = is_good and whole * 1e3 <= SANDBOXED_MS
    print(f"  {first * 1e3:6.1f} ms from engine to client (target <= {FIRST_TOKEN_MS} ms)")
    print(f"  {together:6.1f} tokens a second, {width} jobs side by side")
    print(
        f"    in the same run: the engine asked {width} at once {alone:.1f}; "
        f"ratio {together / alone:.2f} (target >= {1 - LOSS:.2f})"
    )
    return is_good and first * 1e3 <= FIRST_TOKEN_MS and together >= (1 - LOSS) * alone


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--width", type=int, default=10)
    chosen = parser.parse_args()
    raise SystemExit(not asyncio.run(run(chosen.jobs, chosen.width)))


if __name__ == "__main__":
    main()
