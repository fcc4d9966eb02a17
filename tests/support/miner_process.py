"""A miner as a process of its own, as an operator starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.contract_server import MINER

COMMAND = [sys.executable, "-m", "aitbc.cli.main", "miner"]


def make_environment(folder: Path, **settings: Any) -> dict[str, str]:
    key_file = folder / "miner.seed"
    key_file.write_text(MINER.seed.hex())
    key_file.chmod(0o600)
    given = {
        "miner_id": "miner_a",
        "api_key": "aitbc_secret",
        "key_file": key_file,
        "data_folder": folder / "data",
        "log_json": "true",
        **settings,
    }
    names = {f"AITBC_MINER_{name.upper()}": str(value) for name, value in given.items()}
    return {**os.environ, **names}


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*COMMAND, "run"], env=make_environment(folder, **settings), stderr=sink
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()
