"""The network that the demonstration plays on: a development network in child processes."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aitbc.cli.demo.kinds import FILES
from aitbc.cli.demo.show import Show
from aitbc.cli.devnet.network import clear_network
from aitbc.cli.devnet.ports import find_free_port
from aitbc.cli.devnet.processes import Child, start_child, stop_all
from aitbc.cli.failures import CommandError
from aitbc.cli.output import note
from node.exit_codes import ExitCode

READY_SECONDS: Final = 600.0
"""The first start fetches the model: 98 MB."""
STOP_SECONDS: Final = 10.0

_POLL_SECONDS: Final = 0.1
_OWN_FILES: Final = ("devnet.log", "receipt.json", *FILES)


@contextlib.contextmanager
def running_network(folder: Path, show: Show) -> Iterator[dict[str, Any]]:
    """Yield what devnet.json says of a new network; every process of it is gone afterwards."""
    _clear(folder)
    network = folder / "network"
    command = [sys.executable, "-m", "aitbc.cli.main", "devnet", "--validators", "1"]
    command += ["--data", str(network), "--base-port", str(find_free_port())]
    child = start_child("devnet", command, folder / "devnet.log")
    try:
        with show.waiting("starting a node and a miner") as waiting:
            end = time.monotonic() + READY_SECONDS
            while (state := _read_state(network)) is None or not state["ready"]:
                _check_alive(child, end)
                waiting.say(next(iter(child.read_log()[-1:]), "").strip())
                time.sleep(_POLL_SECONDS)
        yield state
    finally:
        stop_all([[child]], STOP_SECONDS)


def find_pids(state: dict[str, Any]) -> list[int]:
    """Return the processes that devnet.json names."""
    children = (*state["nodes"], *state["miners"])
    return [state["pid"], *(child["pid"] for child in children)]


def is_alive(pid: int) -> bool:
    """Tell whether there is a process with this id."""
    return Path(f"/proc/{pid}").exists()


def _clear(folder: Path) -> None:
    """Remove what an earlier demonstration left, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in folder.iterdir() if path.name not in ("network", *_OWN_FILES)]
    if others:
        raise CommandError(
            f"{folder} holds something else: {', '.join(sorted(others)[:3])}",
            ExitCode.CONFIGURATION,
            "aitbc demo --data NEW_FOLDER",
        )
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    if (folder / "network").exists():
        clear_network(folder / "network")


def _read_state(network: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((network / "devnet.json").read_text())
    except FileNotFoundError:
        return None
    return state


def _check_alive(child: Child, end: float) -> None:
    if child.is_running() and time.monotonic() < end:
        return
    note("\n".join(child.read_log()[-20:]))
    if child.is_running():
        raise CommandError(
            f"the network is not ready after {READY_SECONDS:.0f} s",
            ExitCode.TIMED_OUT,
            f"read {child.log}",
        )
    raise CommandError(child.describe_end(), ExitCode.UNEXPECTED, f"read {child.log}")
