"""A true node as the documents' clients and miners use it, by one of its two bases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aitbc.wallet import Wallet
from genesis.document import Allocation, dump_genesis
from node import folder
from tests.support.custody import Keys, enrol, until
from tests.support.node import FUNDS, NODE, Reply, RunningNode, build_genesis, reopened_node
from tests.support.shapes import find_missing, load_answer, load_request

RIVAL = Wallet(bytes([12]) * 32)
UNBOUNDED = "90000/minute, 900000/hour"
MINER_ID = "miner_1234567890"


class SeedNode(NamedTuple):
    """The node, its base (`` or `/api`), and a key for each of client, miner, rival, operator."""

    node: RunningNode
    base: str
    keys: Keys

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request below the base; `who` is nobody where no key is sent."""
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if data is not None:
            sent = {"data": data}
        given = {**self.keys.get(who, {}), **(headers or {})}
        url = self.node.url + self.base + path
        async with self.node.session.request(method, url, headers=given, **sent) as response:
            text = await response.read()
            is_json = response.content_type.endswith("json") and text
            read = await response.json(content_type=None) if is_json else text
            return Reply(response.status, response.headers, read)

    async def expect(
        self, who: str, method: str, path: str, example: str | None = None, body: Any = None,
        status: int = 200, is_loose: bool = False,
    ) -> Any:  # fmt: skip
        """Return the body of an answer that must have a status and every member of an example."""
        reply = await self.ask(who, method, path, body)
        assert reply.status == status, reply
        if example is not None:
            missing = find_missing(reply.body, load_answer(example), is_loose=is_loose)
            assert missing == [], (missing, reply.body)
        return reply.body

    async def refuse(
        self, who: str, method: str, path: str, status: int, code: str | None = None,
        body: Any = None, data: bytes | None = None,
    ) -> Reply:  # fmt: skip
        """Return an answer that must be a problem with a status and, where one is named, a code."""
        reply = await self.ask(who, method, path, body, data)
        assert reply.status == status, reply
        assert reply.headers["Content-Type"].startswith("application/problem+json")
        assert find_missing(reply.body, load_answer("b_error"), is_loose=False) == []
        if code is not None:
            assert reply.body["error_code"] == code, reply
        return reply

    async def post_job(self, body: Any) -> Any:
        """Submit a job and return it once it is queued."""
        made = await self.expect("client", "POST", "/v1/jobs", body=body, status=201)
        return await self.until_job(made["job_id"], phase="queued")

    async def until_job(self, job_id: str, **members: Any) -> Any:
        """Return a job once it has these members."""
        return await until(
            self.node, f"{self.base}/v1/jobs/{job_id}", self.keys["client"],
            lambda job: all(job[name] == value for name, value in members.items()),
        )  # fmt: skip

    async def settle(self, job_id: str, **result: Any) -> Any:
        """Claim a queued job, hand its result in, and return it once it is completed."""
        path = f"/v1/jobs/{job_id}"
        await self.expect("miner", "POST", f"{path}/claim", body={"miner_id": MINER_ID})
        await self.expect("miner", "POST", f"{path}/complete", body={
            "miner_id": MINER_ID, **result,
        })  # fmt: skip
        return await self.until_job(job_id, status="completed")


@asynccontextmanager
async def open_seed_node(
    place: Path, base: str, rate_limits: str = UNBOUNDED
) -> AsyncIterator[SeedNode]:
    """Run a node, with two registered miners that take text and code."""
    genesis = build_genesis()
    more = (*genesis.allocations, Allocation(RIVAL.address, FUNDS))
    genesis = msgspec.structs.replace(genesis, allocations=more)
    await asyncio.to_thread(folder.create_folder, place / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, place / "n")
    rival = await asyncio.to_thread(enrol, place / "n", NODE, RIVAL, RIVAL)
    keys |= {"rival": rival["miner"]}
    async with reopened_node(place / "n", genesis, rate_limits=rate_limits) as node:
        api = SeedNode(node, base, keys)
        body = load_request("b_registration")
        for who, name in (("miner", MINER_ID), ("rival", "rival")):
            await api.expect(
                who, "POST", "/v1/miners/register", body={**body, "miner_id": name}, status=201
            )
            path = f"{base}/v1/miners/{name}"
            await until(node, path, keys[who], lambda miner: miner["status"] == "active")
        yield api
