"""A real node as a process of its own, for the benchmarks that go through HTTP."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from aitbc.cli.devnet.ports import find_free_port
from aitbc.wallet import Wallet
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from ledger.blocks import Authority
from ledger.parameters import Parameters
from node import folder
from zk.devkey import load_dev_verifying_key

AIT = 10**9
START_SECONDS = 60.0
_TICK = os.sysconf("SC_CLK_TCK")


def make_wallet(name: str) -> Wallet:
    """Return the same key for the same name in every run."""
    return Wallet(sha256(b"bench " + name.encode()).digest())


NODE = make_wallet("node")


class Bench(NamedTuple):
    """A running node and a client's session with it."""

    url: str
    pid: int
    genesis: Genesis
    chain_id: bytes
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        """Return the JSON of an answer that must be 200."""
        async with self.session.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def send(self, raws: Sequence[bytes]) -> list[str]:
        """Submit transactions, all of which must be accepted; return their ids."""
        body = [raw.hex() for raw in raws]
        async with self.session.post(f"{self.url}/v1/transactions", json=body) as response:
            assert response.status == 200, await response.text()
            verdicts = await response.json()
        refused = [verdict for verdict in verdicts if verdict["status"] != "accepted"]
        assert not refused, refused[0]
        return [verdict["transaction_id"] for verdict in verdicts]

    async def wait_nonce(self, wallet: Wallet, nonce: int) -> None:
        """Return when an account's transactions up to `nonce` are final."""
        while True:
            account = await self.get(f"/v1/accounts/{wallet.text_address}")
            if account["nonce"] >= nonce:
                return
            await asyncio.sleep(0.02)

    def read_cpu(self) -> float:
        """Return the node's own processor seconds so far, its prover apart."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


@asynccontextmanager
async def run_bench_node(
    data: Path, funded: Sequence[Wallet], prepare: Callable[[Path], None] = lambda _data: None
) -> AsyncIterator[Bench]:
    """Run a chain of one authority, encrypted, in a fresh folder, with rich accounts.

    `prepare` is called with a new folder before the node starts, in a thread. A folder that is
    there already is used as it is.
    """
    key = load_dev_verifying_key()
    genesis = Genesis(
        name="aitbc-bench",
        is_dev=True,
        time=1_766_828_620_000,
        parameters=Parameters(),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=(Authority(NODE.public_key, NODE.address),),
        allocations=tuple(Allocation(wallet.address, 100_000 * AIT) for wallet in (NODE, *funded)),
    )
    await asyncio.to_thread(_create, data, genesis, prepare)
    port = find_free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node", "--data", str(data), "--api-port", str(port),
        "--log-level", "error",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            await _wait_ready(session, url)
            yield Bench(url, process.pid, genesis, compute_chain_id(genesis), session)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def _create(data: Path, genesis: Genesis, prepare: Callable[[Path], None]) -> None:
    if not data.exists():
        folder.create_folder(data, dump_genesis(genesis), NODE.seed)
        prepare(data)


async def _wait_ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
