"""A node's data folder: how it is made, locked against a second process, and opened.

genesis.json   the chain              node.db        everything else, encrypted
config.toml    settings of this node  database.key   its key, 64 hex digits, mode 0600
node.key       the node's key, sealed journal.bin    what this key has signed
node.password  its password, 0600     lock           held by the running process
base.snapshot  what the chain began with, where that is not genesis
"""

import fcntl
import os
import secrets
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import tomli_w

from coordinator.tables import METADATA as COORDINATOR_TABLES
from genesis.document import Genesis, InvalidGenesis, UnfitVerifyingKey, load_genesis
from genesis.state import build_genesis_state
from ledger import crypto, keystore
from node.chain_store import ChainStore
from node.database import Database
from node.exit_codes import ExitCode, OperatorError
from node.key_file import create_key, write_key
from node.rekey import find_key
from node.settings import CONFIG_FILE, NodeSettings
from node.tables import CHAIN_TABLES
from p2p.binding import compute_peer_id, derive_transport_seed

TABLES = (CHAIN_TABLES, COORDINATOR_TABLES)
GENESIS_FILE = "genesis.json"
KEY_LOCK_PURPOSE = b"aitbc/key-lock/1\x00"
JOURNAL_FILE = "journal.bin"


class FolderRefused(OperatorError):
    """The data folder is not what it should be, or not complete."""

    exit_code = ExitCode.CONFIGURATION


class FolderLocked(OperatorError):
    """Another process runs on this data folder."""

    exit_code = ExitCode.DATA_FOLDER_LOCKED


class GenesisRefused(OperatorError):
    """The genesis document is invalid."""

    exit_code = ExitCode.CONFIGURATION


class KeyRefused(OperatorError):
    """The chain's verifying key must not be used."""

    exit_code = ExitCode.VERIFYING_KEY_REFUSED


class FolderLock:
    """An exclusive lock that ends with the process, however it ends."""

    def __init__(self, data: Path) -> None:
        """Take the lock. Raises `FolderLocked`."""
        try:
            self._descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise FolderRefused(f"there is no data folder at {data}: aitbc node init") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise FolderLocked(f"another process is running on {data}") from None

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


class KeyRunning(OperatorError):
    """Another process of this host runs with the same key."""

    exit_code = ExitCode.DATA_FOLDER_LOCKED


class KeyLock:
    """Keeps a second process of this host from running with the same key, whatever its folder.

    A name in the abstract namespace of Unix sockets: it leaves no file, and ends with the process.
    """

    def __init__(self, seed: bytes) -> None:
        """Take the lock. Raises `KeyRunning`."""
        name = sha256(KEY_LOCK_PURPOSE + crypto.compute_public_key(seed)).hexdigest()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(f"\0aitbc/{name}")
        except OSError:
            self._socket.close()
            raise KeyRunning(
                "another process of this host runs with this node's key: two copies of a key "
                "would sign against each other"
            ) from None

    def release(self) -> None:
        """Give the lock back."""
        self._socket.close()


def create_folder(
    data: Path,
    document: bytes,
    seed: bytes,
    password: bytes | None = None,
    config: dict[str, Any] | None = None,
) -> Genesis:
    """Make a node's folder for the chain of a genesis document; `seed` is the node's key.

    Without a password a random one is written beside the key. Raises `OperatorError`.
    """
    genesis = read_genesis(document)
    _make_folder(data)
    if (data / GENESIS_FILE).exists():
        raise FolderRefused(f"{data} is a node's folder already")
    cost = keystore.DEFAULT_COST
    if password is None:
        password, cost = secrets.token_hex(32).encode(), keystore.LOW_COST
        keystore.write_private_file(data / "node.password", password + b"\n")
    keystore.write_private_file(data / "node.key", keystore.seal_seed(seed, password, cost))
    settings = tomli_w.dumps(config or {}).encode()
    keystore.write_private_file(data / CONFIG_FILE, settings, is_new=False)
    is_encrypted = (config or {}).get("db_encryption_enabled", True)
    key = create_key() if is_encrypted else None
    if key is not None:
        write_key(data / "database.key", key)
    database = Database.create(data / "node.db", key, tables=TABLES, is_dev=genesis.is_dev)
    try:
        block, changes = build_genesis_state(genesis)
        ChainStore.initialise(database, block, changes)
    finally:
        database.close_now()
    # Last, because its presence says that the folder is whole.
    keystore.write_private_file(data / GENESIS_FILE, document)
    return genesis


def _make_folder(data: Path) -> None:
    """Make a folder and those above it that are missing, each durably in the one above it."""
    missing = [folder for folder in (data, *data.parents) if not folder.exists()]
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in missing:
        keystore.sync_folder(folder.parent)


def read_genesis(document: bytes) -> Genesis:
    """Return the genesis of a document. Raises `GenesisRefused` or `KeyRefused`."""
    try:
        return load_genesis(document)
    except UnfitVerifyingKey as error:
        raise KeyRefused(str(error)) from None
    except InvalidGenesis as error:
        raise GenesisRefused(str(error)) from None


def open_genesis(data: Path) -> Genesis:
    """Return the genesis of a data folder. Raises `OperatorError`."""
    try:
        document = (data / GENESIS_FILE).read_bytes()
    except FileNotFoundError:
        raise FolderRefused(f"{data} is not a node's folder: aitbc node init") from None
    return read_genesis(document)


def open_database(settings: NodeSettings, genesis: Genesis) -> Database:
    """Return the node's database. Raises `DatabaseError` and its kinds."""
    key = find_database_key(settings)
    path = settings.get_database_path()
    return Database.open(path, key, tables=TABLES, is_dev=genesis.is_dev)


def find_database_key(settings: NodeSettings) -> bytes | None:
    """Return the key of a node's database, None where it has none. Raises `DatabaseError`'s kinds.

    A change of key that was cut short is finished first.
    """
    if not settings.db_encryption_enabled:
        return None
    return find_key(settings.get_database_path(), settings.get_database_key_path())


def open_seed(settings: NodeSettings) -> bytes:
    """Return the node's key. Raises `OperatorError`."""
    try:
        password = keystore.read_private_file(settings.get_node_password_path()).strip()
        sealed = keystore.read_private_file(settings.get_node_key_path())
        return keystore.open_seed(sealed, password)
    except keystore.LoosePermissionsError as error:
        raise _loose(str(error)) from None
    except (keystore.KeystoreError, FileNotFoundError) as error:
        raise FolderRefused(f"the node's key cannot be opened: {error}") from None


def get_address(seed: bytes) -> bytes:
    """Return the address of the account that a node's key stands for."""
    return crypto.compute_address(crypto.compute_public_key(seed))


def get_peer_id(seed: bytes) -> str:
    """Return the name under which peers know the node of a key."""
    return compute_peer_id(crypto.compute_public_key(derive_transport_seed(seed)))


def _loose(message: str) -> OperatorError:
    error = FolderRefused(message)
    error.exit_code = ExitCode.KEY_FILE_PERMISSIONS
    return error
