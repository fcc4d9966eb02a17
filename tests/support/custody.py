"""Custodial accounts at a true node, and the job API as they use it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aitbc.wallet import Wallet
from coordinator import accounts
from coordinator.principals import Role
from node.database import Database
from node.folder import TABLES, find_database_key
from node.server import derive_sealing_key
from node.settings import load_settings
from tests.support.node import CLIENT, MINER, NODE, RunningNode

Keys = dict[str, dict[str, str]]


def enrol(data: Path, node: Wallet = NODE, client: Wallet = CLIENT, miner: Wallet = MINER) -> Keys:
    """Give client, miner and operator custodial accounts and keys, before the node runs."""
    settings = load_settings(data=data)
    database = Database.open(
        settings.get_database_path(), find_database_key(settings), tables=TABLES, is_dev=True
    )
    keys = {}
    for name, wallet, role in (
        ("client", client, Role.CLIENT),
        ("miner", miner, Role.MINER),
        ("operator", node, Role.OPERATOR),
    ):

        def work(connection: Any, seed: bytes = wallet.seed, role: Role = role) -> str:
            sealing_key = derive_sealing_key(node.seed)
            account = accounts.import_account(connection, seed, sealing_key, 0)
            return accounts.create_key(connection, node.address, account, role, "", 0).key

        keys[name] = {"X-Api-Key": database.write_now(work)}
    database.close_now()
    return keys


async def until(
    node: RunningNode, path: str, headers: dict[str, str], holds: Callable[[Any], bool]
) -> Any:
    async with asyncio.timeout(20):
        while True:
            reply = await node.get(path, headers=headers)
            if reply.status == 200 and holds(reply.body):
                return reply.body
            await asyncio.sleep(0.02)


async def post(node: RunningNode, path: str, headers: dict[str, str], body: Any) -> Any:
    async with node.session.post(node.url + path, json=body, headers=headers) as response:
        answer = await response.json(content_type=None)
        assert response.status < 300, answer
        return answer
