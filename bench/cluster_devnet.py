"""Our own network for the comparison: what `aitbc devnet` runs, and clients with money.

A node that was killed is started again by the command line and environment that the devnet gave it.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from aitbc.cli.devnet.ports import check_port
from aitbc.cli.failures import CommandError
from aitbc.wallet import Wallet
from bench.cluster_network import (
    CLIENTS,
    PAYEES,
    START_SECONDS,
    Head,
    NodeProcess,
    Request,
    adopt,
    ask,
    get_body,
    get_node,
    wait_final,
    write_post,
)
from bench.network import AIT, make_wallet
from ledger.keystore import Keystore
from ledger.transactions import Transfer

FUNDS: Final = 1_000 * AIT
VALID_BLOCKS: Final = 50_000
_PATH: Final = "/v1/transactions"


class Devnet:
    """The running validators of a development network."""

    def __init__(
        self, nodes: list[NodeProcess], chain_id: bytes, session: aiohttp.ClientSession
    ) -> None:
        self.nodes = nodes
        self._chain_id = chain_id
        self._session = session
        self._wallets = [make_wallet(f"client {number}") for number in range(CLIENTS)]
        self._payees = [make_wallet(f"payee {number}").address for number in range(PAYEES)]
        self.used = [0] * CLIENTS
        self._fee_rate = 0

    def make_requests(self, client: int, count: int) -> list[Request]:
        """Return the client's next transfers, signed."""
        start = self.used[client]
        url = self.nodes[get_node(client, len(self.nodes))].url
        requests = []
        for nonce in range(start, start + count):
            payee = self._payees[(nonce * CLIENTS + client) % PAYEES]
            signed = self._sign(self._wallets[client], payee, 1, nonce)
            body = f'"{signed.raw.hex()}"'.encode()
            requests.append(Request(f"tx_{signed.id.hex()}", write_post(url, _PATH, body)))
        return requests

    def is_accepted(self, answer: bytes) -> bool:
        """Tell whether an answer says that the transfer waits for its block."""
        return b'"status":"accepted"' in answer

    async def get_head(self, node: int) -> Head:
        """Return a node's last final block."""
        status = await self._get(node, "/v1/chain/status")
        return Head(status["height"], status["time_ms"])

    async def list_block(self, node: int, height: int) -> list[str]:
        """Return the ids of a block's transactions."""
        block = await self._get(node, f"/explorer/blocks/{height}")
        return list(block["transaction_ids"])

    async def is_final(self, node: int, transaction_id: str) -> bool:
        """Tell whether a transaction is in a final block."""
        url = f"{self.nodes[node].url}{_PATH}/{transaction_id}"
        status, body = await ask(self._session, "GET", url)
        return status == 200 and msgspec.json.decode(body)["status"] == "final"

    async def send(self, node: int, request: Request) -> None:
        """Send a transfer, whatever the answer."""
        await ask(self._session, "POST", self.nodes[node].url + _PATH, get_body(request.wire))

    async def fund(self, wallet: Wallet) -> None:
        """Give every client money out of an account of the network's."""
        self._fee_rate = (await self._get(0, "/v1/chain/status"))["minimum_fee_rate"]
        lines = [
            self._sign(wallet, client.address, FUNDS, nonce)
            for nonce, client in enumerate(self._wallets)
        ]
        body = msgspec.json.encode([signed.raw.hex() for signed in lines])
        answer = await ask(self._session, "POST", self.nodes[0].url + _PATH, body)
        verdicts = msgspec.json.decode(answer[1])
        assert all(verdict["status"] == "accepted" for verdict in verdicts), verdicts
        await wait_final(self, [f"tx_{lines[-1].id.hex()}"])

    def _sign(self, wallet: Wallet, recipient: bytes, amount: int, nonce: int) -> Any:
        return wallet.sign(
            Transfer(recipient, amount),
            chain_id=self._chain_id,
            nonce=nonce,
            fee_rate=self._fee_rate,
            valid_until=VALID_BLOCKS,
        )

    async def _get(self, node: int, path: str) -> Any:
        status, body = await ask(self._session, "GET", self.nodes[node].url + path)
        if status != 200:
            raise ConnectionError(f"{path}: {status} {body[:200]!r}")
        return msgspec.json.decode(body)


@asynccontextmanager
async def run_devnet(folder: Path, validators: int) -> AsyncIterator[Devnet]:
    """Run `aitbc devnet` with its data in a fresh folder, without miners."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aitbc.cli.main", "devnet", "--validators", str(validators),
        "--miners", "0", "--data", str(folder), "--base-port", str(_find_ports(validators)),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    nodes: list[NodeProcess] = []
    try:
        state = await _wait_ready(process, folder)
        nodes += [adopt(node["api"], Path(node["data"]), node["pid"]) for node in state["nodes"]]
        password = (folder / "keys.password").read_bytes().strip()
        client = Wallet(Keystore(folder / "keys").open("client", password))
        async with aiohttp.ClientSession() as session:
            network = Devnet(nodes, bytes.fromhex(state["chain_id"]), session)
            await network.fund(client)
            yield network
    finally:
        for node in nodes:
            node.stop()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _wait_ready(process: asyncio.subprocess.Process, folder: Path) -> Any:
    """Return what the devnet says of itself. Raises `TimeoutError`, `ChildProcessError`."""
    path = folder / "devnet.json"
    async with asyncio.timeout(START_SECONDS):
        while not path.exists() or not (state := json.loads(path.read_bytes()))["ready"]:
            if process.returncode is not None:
                raise ChildProcessError(f"the devnet ended with {process.returncode}")
            await asyncio.sleep(0.1)
    return state


def _find_ports(count: int) -> int:
    """Return the first of so many ports in a row that nobody has now."""
    # Below the range from which the system names ports to connections.
    for base in range(20_000, 30_000, 100):
        try:
            for port in range(base, base + count):
                check_port(port)
        except CommandError:
            continue
        return base
    raise OSError("no ports are free")
