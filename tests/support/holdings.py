"""A true node, five accounts, and one of everything that an account can own, made by HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from aitbc.wallet import Wallet
from coordinator.services.models import MODELS
from genesis.document import Allocation, dump_genesis
from node import folder
from tests.support.api_cases import Case
from tests.support.custody import Keys, enrol, post, until
from tests.support.node import FUNDS, NODE, Reply, RunningNode, build_genesis, reopened_node

OTHER_CLIENT: Final = Wallet(bytes([11]) * 32)
OTHER_MINER: Final = Wallet(bytes([12]) * 32)
ROLES: Final = {
    "client": "client", "other_client": "client", "miner": "miner", "other_miner": "miner",
    "operator": "operator",
}  # fmt: skip
"""The accounts, and which role each one's key has."""
UNBOUNDED: Final = "900000/minute, 900000/hour"
ANSWER_SECONDS: Final = 20.0
FILE: Final = b"RIFF" + bytes(1_000)
_CAPABLE: Final = ("llm_inference", "whisper_transcription")
_NOWHERE: Final = "http://127.0.0.1:1024/hook"
_FREE: Final = re.compile(r"[0-9a-f]{8,}$")


class Holdings(NamedTuple):
    """The node, each account's key, and the ids of what `client` and `miner` own."""

    node: RunningNode
    keys: Keys
    ids: Mapping[str, str]

    def fill(self, template: Any, who: str, is_absent: bool = False) -> Any:
        """Return a template with the ids in their places, or with ids that name nothing.

        `{me}` is the miner of the account that asks.
        """
        if isinstance(template, dict):
            return {name: self.fill(value, who, is_absent) for name, value in template.items()}
        if isinstance(template, list):
            return [self.fill(value, who, is_absent) for value in template]
        if not isinstance(template, str):
            return template
        ids = {name: clear(text) for name, text in self.ids.items()} if is_absent else self.ids
        return template.format(**ids, me="theirs" if who == "other_miner" else "mine")

    async def play(self, who: str, name: str, case: Case, is_absent: bool = False) -> Reply:
        """Send an operation's request as an account, about its object or about none."""
        method, path = name.split()
        body = self.fill(case.body, who, is_absent)
        if case.form:
            body = build_form(**body)
        return await self.ask(who, method, self.fill(case.path or path, who, is_absent), body)

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request with an account's key; bytes go as a form's file or as lines."""
        given = {**self.keys.get(who, {}), **(headers or {})}
        sent: dict[str, Any] = {}
        if body is not None:
            sent["data" if isinstance(body, aiohttp.FormData | bytes) else "json"] = body
        url = self.node.url + path
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            self.node.session.request(method, url, headers=given, **sent) as response,
        ):
            data = await response.read()
            is_json = response.content_type.endswith("json") and data
            read = await response.json(content_type=None) if is_json else data
            return Reply(response.status, response.headers, read)


def clear(text: str) -> str:
    """Return an id of the same form that names nothing."""
    return _FREE.sub(lambda digits: "0" * len(digits[0]), text.replace("mine", "gone"))


def build_form(content: bytes = FILE, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", content, filename="a.wav")
    for name, value in fields.items():
        form.add_field(name, value)
    return form


@asynccontextmanager
async def open_holdings(place: Path, **settings: Any) -> AsyncIterator[Holdings]:
    """Run a node in a folder of its own, with everything that `_make` makes."""
    settings = {"rate_limits": UNBOUNDED, **settings}
    genesis = build_genesis()
    others = tuple(Allocation(each.address, FUNDS) for each in (OTHER_CLIENT, OTHER_MINER))
    genesis = msgspec.structs.replace(genesis, allocations=(*genesis.allocations, *others))
    await asyncio.to_thread(folder.create_folder, place / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, place / "n")
    more = await asyncio.to_thread(enrol, place / "n", NODE, OTHER_CLIENT, OTHER_MINER)
    keys |= {"other_client": more["client"], "other_miner": more["miner"]}
    async with reopened_node(place / "n", genesis, **settings) as node:
        yield Holdings(node, keys, await _make(node, keys))


async def _make(node: RunningNode, keys: Keys) -> dict[str, str]:
    """Make a miner and an offer, files, webhooks, and jobs that are queued, leased and settled."""
    client, miner = keys["client"], keys["miner"]
    pinned = [f"{name}@{MODELS[name].sha256}" for name in ("smollm2-135m", "tiny.en")]
    for name, key in (("mine", miner), ("theirs", keys["other_miner"])):
        announced = {"miner_id": name, "capabilities": list(_CAPABLE), "models": pinned}
        await post(node, "/v1/miners/register", key, announced)
        await until(node, f"/v1/miners/{name}", key, lambda m: m["status"] == "active")
    url = node.url + "/v1/files"
    ids = {"miner": "mine", "model": "tiny.en", "service": "llm_inference"}
    for name in ("file", "source"):
        async with node.session.post(url, data=build_form(), headers=client) as response:
            ids[name] = (await response.json())["file_id"]
    offer = {"job_type": "llm_inference", "price": "0.0001", "max_jobs": 3}
    ids["offer"] = (await post(node, "/v1/marketplace/offers", miner, offer))["offer_id"]
    hook = {"url": _NOWHERE, "events": ["receipt_created"]}
    ids["webhook"] = (await post(node, "/v1/webhooks", client, hook))["webhook_id"]
    tested = await post(node, f"/v1/webhooks/{ids['webhook']}/test", client, None)
    ids["delivery"] = tested["delivery_id"]
    made = await post(node, "/v1/api-keys", keys["operator"], {"role": "client"})
    ids["key"], ids["address"] = str(made["key_id"]), made["address"]
    ids |= await _make_jobs(node, keys, ids["source"])
    block = (await node.read("/explorer/blocks"))[0]
    ids |= {"height": str(block["height"]), "hash": block["hash"]}
    return ids


async def _make_jobs(node: RunningNode, keys: Keys, source: str) -> dict[str, str]:
    client, miner = keys["client"], keys["miner"]
    settled = (await post(node, "/v1/jobs", client, {"prompt": "Hi", "max_cost": "0.5"}))["job_id"]
    speech = {"audio_url": source, "model": "tiny.en", "max_cost": "0.5"}
    leased = (await post(node, "/v1/services/whisper/transcribe", client, speech))["job_id"]
    for job in (settled, leased):
        path = f"/v1/jobs/{job}"
        await until(node, path, client, lambda j: j["phase"] == "queued")
        await post(node, path + "/claim", miner, {"miner_id": "mine"})
    done = {"miner_id": "mine", "result": "Ho", "units": 3}
    await post(node, f"/v1/jobs/{settled}/complete", miner, done)
    ended = await until(
        node, f"/v1/jobs/{settled}", client, lambda j: j["status"] == "completed"
    )  # fmt: skip
    queued = (await post(node, "/v1/jobs", client, {"prompt": "Hm", "max_cost": "0.5"}))["job_id"]
    await until(node, f"/v1/jobs/{queued}", client, lambda j: j["phase"] == "queued")
    return {
        "settled": settled, "leased": leased, "queued": queued,
        "receipt": settled.replace("job_", "receipt_"), "transaction": ended["settlement"]["tx"],
    }  # fmt: skip
