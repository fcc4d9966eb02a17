"""Making a development network: keys, genesis, node folders and API keys, all in one folder."""

import os
import secrets
from pathlib import Path
from typing import Any, Final

from aitbc.cli.devnet.network import (
    NETWORK_FILE,
    UNFINISHED_FILE,
    Miner,
    Network,
    Node,
    Wanted,
    write_json,
)
from coordinator import accounts
from coordinator.principals import Role
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from ledger import crypto
from ledger.blocks import Authority
from ledger.keystore import LOW_COST, Keystore, write_private_file
from ledger.parameters import Parameters
from ledger.types import UNITS_PER_AIT
from node.clock import get_wall_time
from node.database import Database
from node.folder import TABLES, create_folder, get_address, get_peer_id
from node.key_file import read_key
from node.server import derive_sealing_key
from zk.devkey import load_dev_verifying_key

CHAIN_NAME: Final = "aitbc-devnet"
GENESIS_SECONDS: Final = 1_766_828_620
DEFAULT_INTERVAL_MS: Final = 500
CLIENT_AIT: Final = 1_000_000
OTHER_AIT: Final = 10_000
"""What every account that is no client's starts with: a miner's bond is 10 AIT."""


class Purse:
    """The accounts of a new network: their keys in its keystore, their balances at the start."""

    def __init__(self, folder: Path) -> None:
        self._password = secrets.token_hex(32).encode()
        self._keys = Keystore(folder / "keys")
        self.balances: dict[bytes, int] = {}
        self.addresses: dict[str, str] = {}
        write_private_file(folder / "keys.password", self._password + b"\n")

    def add(self, name: str, ait: int) -> bytes:
        """Return the seed of a new account with money."""
        seed = os.urandom(32)
        self._keys.add(name, seed, self._password, LOW_COST)
        self.balances[get_address(seed)] = ait * UNITS_PER_AIT
        self.addresses[name] = crypto.format_address(get_address(seed))
        return seed


class KeyDesk:
    """Writes accounts and API keys into the database of a node that does not run yet."""

    def __init__(self, data: Path, seed: bytes) -> None:
        self._coordinator = get_address(seed)
        self._sealing_key = derive_sealing_key(seed)
        self._now = get_wall_time()
        key = read_key(data / "database.key")
        self.database = Database.open(data / "node.db", key, tables=TABLES)

    def make_custodial_key(self, seed: bytes, role: Role) -> str:
        """Return an API key of an account that the node signs for."""

        def work(connection: Any) -> str:
            account = accounts.import_account(connection, seed, self._sealing_key, self._now)
            return self._make(connection, account, role)

        return self.database.write_now(work)

    def make_key(self, address: bytes, role: Role) -> str:
        """Return an API key of an account whose holder signs by itself."""

        def work(connection: Any) -> str:
            account = accounts.find_or_add_account(connection, address, self._now)
            return self._make(connection, account, role)

        return self.database.write_now(work)

    def _make(self, connection: Any, account: Any, role: Role) -> str:
        made = accounts.create_key(
            connection, self._coordinator, account, role, "devnet", self._now
        )
        return made.key


def create_network(folder: Path, wanted: Wanted) -> Network:
    """Make a network in an empty folder. `network.json` comes last: with it the folder is whole."""
    (folder / UNFINISHED_FILE).touch(mode=0o600)
    (folder / "logs").mkdir()
    purse = Purse(folder)
    numbers = range(1, wanted.validators + 1)
    seeds = [purse.add(f"validator-{number}", OTHER_AIT) for number in numbers]
    custodial = [
        {
            role: purse.add(
                role.value if number == 1 else f"{role.value}-{number}",
                CLIENT_AIT if role is Role.CLIENT else OTHER_AIT,
            )
            for role in Role
        }
        for number in numbers
    ]
    workers = {
        f"worker-{number}": get_address(purse.add(f"worker-{number}", OTHER_AIT))
        for number in range(1, wanted.miners + 1)
    }
    interval = wanted.block_interval_ms or DEFAULT_INTERVAL_MS
    genesis = _build_genesis(seeds, purse.balances, interval)
    document = dump_genesis(genesis)
    (folder / "genesis.json").write_bytes(document)
    nodes, miners = [], list[Miner]()
    for number, seed, own in zip(numbers, seeds, custodial, strict=True):
        data = folder / f"node-{number}"
        create_folder(data, document, seed)
        desk = KeyDesk(data, seed)
        try:
            keys = {role.value: desk.make_custodial_key(own[role], role) for role in Role}
            for index, (name, address) in enumerate(workers.items()):
                if index % wanted.validators == number - 1:
                    key = desk.make_key(address, Role.MINER)
                    miners.append(Miner(f"miner_{index + 1}", name, number - 1, key))
        finally:
            desk.database.close_now()
        text = crypto.format_address(get_address(seed))
        nodes.append(Node(data.name, text, get_peer_id(seed), keys))
    miners.sort(key=lambda miner: int(miner.id.removeprefix("miner_")))
    network = Network(
        compute_chain_id(genesis).hex(), interval, tuple(nodes), tuple(miners), purse.addresses
    )
    write_json(folder / NETWORK_FILE, network)
    (folder / UNFINISHED_FILE).unlink()
    return network


def _build_genesis(seeds: list[bytes], balances: dict[bytes, int], interval: int) -> Genesis:
    key = load_dev_verifying_key()
    return Genesis(
        name=CHAIN_NAME,
        is_dev=True,
        time=GENESIS_SECONDS * 1000,
        parameters=Parameters(block_interval=interval),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=tuple(
            Authority(crypto.compute_public_key(seed), get_address(seed)) for seed in seeds
        ),
        allocations=tuple(Allocation(address, amount) for address, amount in balances.items()),
    )
