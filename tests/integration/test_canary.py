"""Secrets planted in a running node are in none of its files, log lines, figures and errors."""

import asyncio
import json
import secrets
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from aitbc.wallet import Wallet
from genesis.document import Allocation, Genesis, dump_genesis
from ledger.blocks import Authority
from node import folder
from node.key_file import read_key
from tests.support.custody import Keys, enrol, post, until
from tests.support.leaks import find_leaks, iterate_files
from tests.support.node import FUNDS, RunningNode, build_genesis
from tests.support.node_process import node_process
from tests.support.webhook_receiver import Receiver, open_receiver

SHOWN = (
    "/metrics", "/openapi.json", "/health", "/v1/health", "/readyz?verbose=1", "/explorer/blocks",
    "/explorer/transactions", "/explorer/receipts", "/explorer/stats", "/explorer/miners",
    "/v1/chain/status", "/v1/audit/supply", "/v1/marketplace/stats", "/v1/registry/services",
)  # fmt: skip
"""What anybody may look at."""
SECRET_LENGTH = 43
"""Characters of an API key behind the address of its coordinator, which is no secret."""
OWN_FILES = {"node password": "node.password", "database key": "database.key"}
"""Where a secret is kept: that one file is what it is."""


def plant(what: str) -> str:
    """Return a text that is nowhere by chance."""
    return f"{what}-{secrets.token_hex(12)}"


class Planted(NamedTuple):
    """What must be found nowhere."""

    prompt: str
    result: str
    delta: str
    file: str
    spoilt: str
    """In requests that cannot be right, where a prompt or a value belongs."""
    name: str
    """In such requests where a name or no request at all belongs: the sender may be told it."""
    url_token: str


class Canary(NamedTuple):
    """A node's process, its people and what was planted."""

    node: RunningNode
    data: Path
    log: Path
    keys: Keys
    planted: Planted
    secrets: dict[str, bytes]
    """All that is known before the node runs; more is added as it is shown."""
    answers: list[tuple[str, bytes]]
    """Error bodies, by what was asked."""

    async def err(self, method: str, path: str, **sent: Any) -> int:
        """Send a request that fails, keep its answer and return the status."""
        async with self.node.session.request(method, self.node.url + path, **sent) as response:
            body = await response.read()
            assert 400 <= response.status < 500, (method, path, response.status, body)
            self.answers.append((f"{response.status} {method} {path}", body))
            return response.status


@asynccontextmanager
async def open_canary(tmp_path: Path) -> AsyncIterator[Canary]:
    owner, client, miner = (Wallet(secrets.token_bytes(32)) for _ in range(3))
    genesis: Genesis = msgspec.structs.replace(
        build_genesis(),
        authorities=(Authority(owner.public_key, owner.address),),
        allocations=tuple(Allocation(w.address, FUNDS) for w in (owner, client, miner)),
    )
    data, log = tmp_path / "node", tmp_path / "node.log"
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), owner.seed)
    keys = await asyncio.to_thread(enrol, data, owner, client, miner)
    planted = Planted(*(plant(name) for name in Planted._fields))
    known = {
        **{name: text.encode() for name, text in planted._asdict().items()},
        **{
            f"{name} key": each["X-Api-Key"][-SECRET_LENGTH:].encode()
            for name, each in keys.items()
        },
        "node seed": owner.seed,
        "client seed": client.seed,
        "miner seed": miner.seed,
        "node password": (data / "node.password").read_bytes().strip(),
        "database key": read_key(data / "database.key"),
    }
    async with node_process(data, genesis, log) as node:
        yield Canary(node, data, log, keys, planted, known, [])


async def play_jobs(canary: Canary) -> None:
    """One job that settles, one that fails, one that is cancelled, and a file."""
    node, keys, planted = canary.node, canary.keys, canary.planted
    client, miner = keys["client"], keys["miner"]
    registration = {"miner_id": "m", "capabilities": ["llm_inference"]}
    await post(node, "/v1/miners/register", miner, registration)
    await until(node, "/v1/miners/m", miner, lambda m: m["status"] == "active")
    form = aiohttp.FormData()
    form.add_field("file", planted.file.encode(), filename="notes.txt")
    async with node.session.post(node.url + "/v1/files", data=form, headers=client) as response:
        file_id = (await response.json())["file_id"]
    paths = []
    for body in ({"prompt": planted.prompt}, {"prompt": planted.prompt}, {"input": file_id}):
        job = await post(node, "/v1/jobs", client, {**body, "max_cost": "0.5"})
        paths.append(f"/v1/jobs/{job['job_id']}")
    for path in paths[:2]:
        await until(node, path, client, lambda j: j["phase"] == "queued")
        await post(node, path + "/claim", miner, {"miner_id": "m"})
    line = json.dumps({"delta": planted.delta, "progress": 40}).encode() + b"\n"
    stream = f"{node.url}{paths[0]}/stream?miner_id=m&offset=0"
    async with node.session.post(stream, data=line, headers=miner) as response:
        assert response.status == 200, await response.text()
    report = {"miner_id": "m", "result": planted.result, "units": 3}
    await canary.err("POST", paths[0] + "/complete", json={**report, "units": -1}, headers=miner)
    await post(node, paths[0] + "/complete", miner, report)
    await post(node, paths[1] + "/fail", miner, {"miner_id": "m", "reason_code": 22_002})
    async with node.session.delete(node.url + paths[2], headers=client) as response:
        assert response.status == 200
    await until(node, paths[0], client, lambda j: j["status"] == "completed")
    other = {**report, "result": f"another {planted.result}"}
    await canary.err("POST", paths[0] + "/complete", json=other, headers=miner)


async def play_webhook(canary: Canary, receiver: Receiver) -> None:
    """A webhook with a token in its address: delivered to, failing, with a new secret."""
    node, client = canary.node, canary.keys["client"]
    url = f"{receiver.url}?token={canary.planted.url_token}"
    body = {"url": url, "events": ["job_update", "receipt_created"]}
    made = await post(node, "/v1/webhooks", client, body)
    path = f"/v1/webhooks/{made['webhook_id']}"
    rotated = await post(node, path + "/rotate", client, None)
    for name, shown in (("first secret", made), ("second secret", rotated)):
        canary.secrets[name] = shown["secret"].encode()
        canary.secrets[f"{name} in bytes"] = b64decode(shown["secret"].removeprefix("whsec_"))
    receiver.status = 500
    await post(node, path + "/test", client, None)
    await receiver.until(lambda messages: len(messages) == 1)
    receiver.status = 200


async def play_errors(canary: Canary) -> None:
    """Requests that cannot be right, each with something in it that must not come back."""
    client = canary.keys["client"]
    spoilt, name, key = canary.planted.spoilt, canary.planted.name, client["X-Api-Key"]
    post_json = {**client, "Content-Type": "application/json"}
    for raw in (
        f'{{"prompt": "{spoilt}"',
        f'"{spoilt}"',
        f"[{spoilt}]",
        f'{{"{spoilt}": NaN}}',
    ):
        await canary.err("POST", "/v1/jobs", data=raw.encode(), headers=post_json)
    bodies: list[Any] = [
        {"prompt": {"text": spoilt}}, {"prompt": spoilt, "max_cost": spoilt},
        {"prompt": spoilt, "params": {"max_tokens": spoilt}}, {"type": name, "prompt": spoilt},
        {"prompt": spoilt, "timeout_seconds": spoilt}, {"input": f"file_{spoilt}"},
        {"input": {"messages": spoilt}, "type": "llm_inference"},
    ]  # fmt: skip
    for body in bodies:
        await canary.err("POST", "/v1/jobs", json=body, headers=client)
    elsewhere: list[tuple[str, Any]] = [
        ("/v1/chat/completions", {"messages": spoilt}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": {"x": spoilt}}]}),
        ("/v1/embeddings", {"input": {"x": spoilt}}),
        ("/v1/services/llm/inference", {"prompt": {"x": spoilt}}),
        ("/v1/services/whisper/transcribe", {"audio_url": f"gopher://{spoilt}/"}),
        ("/v1/marketplace/offers", {"job_type": spoilt, "price": spoilt}),
    ]
    for path, body in elsewhere:
        await canary.err("POST", path, json=body, headers=client)
    await canary.err("GET", f"/v1/jobs?status={spoilt}", headers=client)
    await canary.err("GET", "/v1/jobs", headers={"X-Api-Key": spoilt})
    await canary.err("GET", "/v1/jobs", headers={"Authorization": f"Bearer {key}x"})
    await canary.err("POST", "/v1/api-keys", json={"role": spoilt}, headers=client)
    await canary.err("POST", "/v1/receipts/verify", json={"receipt": spoilt})
    await canary.err("POST", "/v1/transactions", json={"raw": spoilt})
    await canary.err(
        "POST", "/v1/files", data=spoilt.encode(),
        headers={**client, "Content-Type": f"multipart/form-data; boundary={spoilt[:20]}"},
    )  # fmt: skip
    url = {"url": f"gopher://{spoilt}/", "events": ["job_update"]}
    await canary.err("POST", "/v1/webhooks", json=url, headers=client)
    for head in (f"GET /{name} {name}", f"{name}", f"GET / HTTP/1.1\r\n{name}"):
        await send_raw(canary, head)
    await send_raw(canary, f"GET /v1/jobs HTTP/1.1\r\nX-Api-Key: {key}\r\nContent-Length: x")


async def send_raw(canary: Canary, head: str) -> None:
    """Send what is no request."""
    port = int(canary.node.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + b"\r\n\r\n")
    async with asyncio.timeout(10):
        body = await reader.read(65_536)
    writer.close()
    canary.answers.append((f"raw {head[:10]!r}", body))


async def play_live(canary: Canary) -> None:
    """WebSockets that show a key in each way, and some that show none."""
    session, url = canary.node.session, canary.node.url + "/ws"
    key, planted = canary.keys["client"]["X-Api-Key"], canary.planted
    async with session.ws_connect(url, protocols=("aitbc.v1", f"aitbc.key.{key}")) as socket:
        await socket.receive_json()
        for text in (
            "{",
            json.dumps({"type": planted.name}),
            json.dumps({"type": "subscribe", "since": planted.spoilt}),
        ):
            await socket.send_str(text)
            await read_error(canary, socket)
    for first in (
        {"type": "authenticate", "api_key": key},
        {"type": "authenticate", "api_key": planted.spoilt},
    ):
        async with session.ws_connect(url) as socket:
            await socket.send_json(first)
            await socket.receive()


async def read_error(canary: Canary, socket: aiohttp.ClientWebSocketResponse) -> None:
    async with asyncio.timeout(10):
        while (message := await socket.receive_json())["type"] != "error":
            pass
    canary.answers.append(("socket", json.dumps(message).encode()))


async def test_secrets_are_nowhere_but_where_they_belong(tmp_path: Path) -> None:
    async with open_canary(tmp_path) as canary, open_receiver() as receiver:
        made = await post(canary.node, "/v1/api-keys", canary.keys["operator"], {"role": "client"})
        canary.secrets["made key"] = made["key"][-SECRET_LENGTH:].encode()
        await play_webhook(canary, receiver)
        await play_jobs(canary)
        await play_errors(canary)
        await play_live(canary)
        await receiver.until(lambda _: "receipt_created" in receiver.list_types())
        operator = canary.keys["operator"]
        places = [(path, await read_bytes(canary, path)) for path in SHOWN]
        for path in ("/v1/audit/log?limit=100", "/v1/api-keys"):
            places.append((path, await read_bytes(canary, path, operator)))
        places += [("a delivery", message.body) for message in receiver.messages]
        running = find_misplaced(canary, places)
        secret = {name: text for name, text in canary.secrets.items() if name != "name"}
        told = find_leaks(secret, canary.answers)
    assert running == []
    assert told == []
    stopped = find_misplaced(canary, [("the log", canary.log.read_bytes())])
    assert stopped == []
    lines = [json.loads(line) for line in canary.log.read_text().splitlines()]
    assert len(lines) > 3
    assert all({"service", "module", "function", "line", "event"} <= set(line) for line in lines)
    # What the search finds when there is something to find.
    leaked = canary.data / "leaked"
    leaked.write_bytes(
        b"x" + canary.secrets["node seed"] + canary.planted.prompt.encode().hex().encode()
    )
    assert sorted(find_misplaced(canary, [])) == ["node seed in leaked", "prompt in leaked"]


async def read_bytes(canary: Canary, path: str, headers: dict[str, str] | None = None) -> bytes:
    async with canary.node.session.get(canary.node.url + path, headers=headers) as response:
        assert response.status == 200, (path, response.status)
        return await response.read()


def find_misplaced(canary: Canary, places: list[tuple[str, bytes]]) -> list[str]:
    """Return where secrets are, among these places and in all files of the node's folder."""
    found = find_leaks(canary.secrets, [*places, *iterate_files(canary.data)])
    kept = {f"{name} in {file}" for name, file in OWN_FILES.items()}
    assert kept <= set(found), "the search finds what is where it belongs"
    return [each for each in found if each not in kept]
