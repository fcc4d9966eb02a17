"""What a development network is made of, and its folder on disk.

network.json   what stays the same over restarts: nodes, accounts, API keys (mode 0600)
keys/          the accounts' keys, sealed; keys.password opens them (mode 0600)
genesis.json   the chain
node-1/        a node's data folder each
logs/          what every process wrote
devnet.json    where everything runs now (mode 0600); written anew at each start
"""

import shutil
from pathlib import Path
from typing import Final

import msgspec

from aitbc.cli.failures import CommandError
from ledger.keystore import read_private_file, write_private_file
from node.exit_codes import ExitCode

NETWORK_FILE: Final = "network.json"
LOCK_FILE: Final = "devnet.lock"
UNFINISHED_FILE: Final = "unfinished"
"""There while a network is being made: a folder with it holds nothing worth keeping."""

MAX_NETWORK_BYTES: Final = 1024 * 1024


class Node(msgspec.Struct, frozen=True):
    """A validator: its folder, relative to the network's, and the API keys of its accounts."""

    folder: str
    address: str
    peer_id: str
    api_keys: dict[str, str]


class Miner(msgspec.Struct, frozen=True):
    """A miner: its name on the chain, its key in the keystore, its node and its API key there."""

    id: str
    key: str
    node: int
    """Which of the nodes it works at, from 0."""
    api_key: str


class Network(msgspec.Struct, frozen=True):
    """The unchanging part of a development network."""

    chain_id: str
    block_interval_ms: int
    nodes: tuple[Node, ...]
    miners: tuple[Miner, ...]
    accounts: dict[str, str]
    """Address of each account, by name."""


class Wanted(msgspec.Struct, frozen=True):
    """What a network is to be made of; None where an existing one decides."""

    validators: int
    miners: int
    block_interval_ms: int | None


def find_network(folder: Path, wanted: Wanted) -> Network | None:
    """Return the network in a folder, None in an empty one. Raises `CommandError`."""
    if (folder / UNFINISHED_FILE).exists():
        clear_network(folder)
    if not (folder / NETWORK_FILE).exists():
        if any(path.name != LOCK_FILE for path in folder.iterdir()):
            raise CommandError(
                f"{folder} holds something that is no development network",
                ExitCode.CONFIGURATION,
                "name an empty or a new folder with --data",
            )
        return None
    network = _read_network(folder / NETWORK_FILE)
    interval = wanted.block_interval_ms or network.block_interval_ms
    found = (len(network.nodes), len(network.miners), network.block_interval_ms)
    if found != (wanted.validators, wanted.miners, interval):
        raise CommandError(
            f"the network in {folder} was made with {found[0]} validators, {found[1]} miners and "
            f"{found[2]} ms between blocks; these are part of its chain",
            ExitCode.CONFIGURATION,
            "use the same numbers, or --fresh to begin a new chain",
        )
    return network


def clear_network(folder: Path) -> None:
    """Remove a development network, and nothing else that somebody may keep in a folder."""
    if not any((folder / name).exists() for name in (NETWORK_FILE, UNFINISHED_FILE)):
        return
    write_private_file(folder / UNFINISHED_FILE, b"", is_new=False)
    for path in folder.iterdir():
        if path.name in (LOCK_FILE, UNFINISHED_FILE):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (folder / UNFINISHED_FILE).unlink()


def write_json(path: Path, document: object) -> None:
    """Write a JSON file of mode 0600 whole or not at all, in place of an older one."""
    data = msgspec.json.format(msgspec.json.encode(document)) + b"\n"
    write_private_file(path, data, is_new=False)


def _read_network(path: Path) -> Network:
    try:
        return msgspec.json.decode(read_private_file(path, MAX_NETWORK_BYTES), type=Network)
    except msgspec.MsgspecError as error:
        raise CommandError(
            f"{path} is damaged: {error}", ExitCode.CONFIGURATION, "--fresh begins a new chain"
        ) from None
