"""What the demonstration checks outside the API: the exported receipt, and the file on disk."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from genesis.document import Genesis, load_verifying_key
from node.key_file import create_key, read_key
from zk.verifier import verify

SQLITE_HEADER: Final = b"SQLite format 3\x00"
_COUNT: Final = "select count(*) from sqlite_master where type = 'table'"


class CheckFailed(Exception):
    """Something that must hold does not."""


class DatabaseReport(NamedTuple):
    """What is found when one tries to read the database file."""

    first_bytes: bytes
    refusals: tuple[tuple[str, str], ...]
    """Each way of opening it that must fail, and the error it gave."""
    tables: int
    """Tables found with the right key."""


def verify_offline(bundle: Path, genesis: Path) -> dict[str, Any]:
    """Return what an exported receipt proves, found by a process that cannot use the network."""
    command = [sys.executable, "-m", "aitbc.cli.demo.offline", "receipt", "verify"]
    result = subprocess.run(
        [*command, str(bundle), "--genesis", str(genesis), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if result.returncode != 0:
        raise CheckFailed(f"the exported receipt does not verify: {result.stderr.strip()}")
    proven: dict[str, Any] = json.loads(result.stdout)
    return proven


def inspect_database(database: Path, key_file: Path) -> DatabaseReport:
    """Try to read a running node's database in every wrong way, and in the right one.

    Raises `CheckFailed` when a wrong way works.
    """
    import sqlcipher3

    with database.open("rb") as file:
        first_bytes = file.read(16)
    if first_bytes == SQLITE_HEADER:
        raise CheckFailed(f"{database} is plain text")
    uri = f"file:{database}?mode=ro"
    refusals = (
        ("SQLite", _refuse(sqlite3, uri, None)),
        ("SQLCipher without a key", _refuse(sqlcipher3, uri, None)),
        ("SQLCipher with another key", _refuse(sqlcipher3, uri, create_key())),
    )
    tables = _count_tables(sqlcipher3, uri, read_key(key_file))
    return DatabaseReport(first_bytes, refusals, tables)


def time_proof(zk: Mapping[str, Any], genesis: Genesis) -> float:
    """Return the milliseconds that checking a receipt's proof takes.

    Raises `CheckFailed` when it does not hold, or holds for one base unit more as well.
    """
    key = load_verifying_key(genesis)
    inputs = {name: int(value) for name, value in zk["public_inputs"].items()}
    proof = bytes.fromhex(zk["proof"])
    greedy = {**inputs, "amount": inputs["amount"] + 1}
    if verify(key, tuple(greedy.values()), proof):
        raise CheckFailed("the proof holds for another amount as well")
    begin = time.perf_counter()
    if not verify(key, tuple(inputs.values()), proof):
        raise CheckFailed("the proof does not hold")
    return 1000 * (time.perf_counter() - begin)


def find_plain_text(folder: Path, text: str) -> list[Path]:
    """Return the files of a node's database that hold a text in clear."""
    needle = text.encode()
    return [path for path in folder.glob("node.db*") if needle in path.read_bytes()]


def _refuse(module: Any, uri: str, key: bytes | None) -> str:
    try:
        _count_tables(module, uri, key)
    except module.DatabaseError as error:
        return str(error)
    raise CheckFailed(
        f"{module.__name__} opened the database with {'a wrong' if key else 'no'} key"
    )


def _count_tables(module: Any, uri: str, key: bytes | None) -> int:
    connection = module.connect(uri, uri=True)
    try:
        # A failed attempt is what is asked for here; SQLCipher would also log it.
        connection.execute("pragma cipher_log_level = none")
        if key is not None:
            connection.execute(f"pragma key = \"x'{key.hex()}'\"")
        (count,) = connection.execute(_COUNT).fetchone()
        return int(count)
    finally:
        connection.close()
