"""Running `aitbc devnet` as its users do: a command in a process of its own."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from typer.testing import CliRunner, Result

from aitbc.cli.devnet.ports import check_port
from aitbc.cli.devnet.supervisor import P2P_OFFSET
from aitbc.cli.failures import CommandError
from aitbc.cli.main import app

T = TypeVar("T")

START_SECONDS = 100
"""Generous: the machine may be busy with other tests."""
STOP_SECONDS = 10


class Devnet:
    """A running `aitbc devnet` and what it says."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, log: Path) -> None:
        self.process = process
        self.folder = folder
        self.log = log

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "devnet.json").read_text())
        return state

    @property
    def url(self) -> str:
        return str(self.state["nodes"][0]["api"])

    def get(self, path: str) -> Any:
        answer = httpx2.get(f"{self.url}{path}", timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def find_pids(self) -> set[int]:
        """Return every process of the network, the command itself included."""
        return find_tree(self.process.pid)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[float, set[int]]:
        """End it by a signal; return the seconds that took, and which processes are left."""
        pids = self.find_pids()
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=3 * STOP_SECONDS)
        return time.monotonic() - begin, {pid for pid in pids if is_alive(pid)}


@contextlib.contextmanager
def running_devnet(folder: Path, port: int, *more: str) -> Iterator[Devnet]:
    """Yield a ready network."""
    log = folder.parent / f"{folder.name}.log"
    command = [sys.executable, "-m", "aitbc.cli.main", "devnet", "--validators", "1"]
    command += ["--data", str(folder), "--base-port", str(port), *more]
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, text=True) as process,
    ):
        devnet = Devnet(process, folder, log)
        try:
            wait_for(lambda: "ready:" in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield devnet
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=3 * STOP_SECONDS)


def run_command(*arguments: str, **environment: str | None) -> Result:
    """Run `aitbc` in this process, which has its imports already."""
    defaults = {"AITBC_API_KEY": None, "AITBC_API_KEY_FILE": None, "AITBC_API_URL": None}
    return CliRunner(env={**defaults, **environment}).invoke(app, arguments)


def find_base_port(nodes: int) -> int:
    """Return the first of so many ports in a row that nobody has, nor those that peers dial."""
    # Below the range from which the system names ports to connections.
    for base in random.sample(range(20_000, 29_000), 1_000):
        try:
            for port in range(base, base + nodes):
                check_port(port)
                check_port(port + P2P_OFFSET)
        except CommandError:
            continue
        return base
    raise OSError("no ports are free")


def wait_for(find: Callable[[], T], seconds: float = START_SECONDS) -> T:
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)
    return found


def find_tree(root: int) -> set[int]:
    """Return a process and all its descendants."""
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in path.read_text().split()]
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
