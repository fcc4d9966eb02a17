"""Custodial clients of a node, made in its folder before it starts, for benchmarks of the job API.

Many accounts with many keys: within each key's limit of requests, as so many users would be.
"""

from pathlib import Path
from typing import Any

from aitbc.wallet import Wallet
from bench.network import NODE, make_wallet
from coordinator import accounts
from coordinator.principals import Role
from node import folder
from node.clock import get_wall_time
from node.settings import load_settings


def make_clients(count: int) -> tuple[Wallet, ...]:
    """Return the wallets of so many clients."""
    return tuple(make_wallet(f"client {number}") for number in range(count))


def make_keys(data: Path, clients: tuple[Wallet, ...], each: int) -> list[list[str]]:
    """Make the accounts of clients in a node's folder; return so many keys for each."""
    from node.server import derive_sealing_key  # noqa: PLC0415 - the server takes a second to load

    settings = load_settings(data=data)
    database = folder.open_database(settings, folder.open_genesis(data))
    sealing, now = derive_sealing_key(NODE.seed), get_wall_time()

    def work(connection: Any) -> list[list[str]]:
        made = []
        for wallet in clients:
            owner = accounts.import_account(connection, wallet.seed, sealing, now)
            keys = [
                accounts.create_key(connection, NODE.address, owner, Role.CLIENT, "", now)
                for _ in range(each)
            ]
            made.append([key.key for key in keys])
        return made

    try:
        return database.write_now(work)
    finally:
        database.close_now()
