"""Running a development network in the foreground: start, wait until ready, watch, end it all."""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import httpx2

from aitbc.cli.devnet.network import (
    LOCK_FILE,
    Miner,
    Network,
    Wanted,
    clear_network,
    find_network,
    write_json,
)
from aitbc.cli.devnet.ports import HOST, check_port
from aitbc.cli.devnet.processes import (
    STOP_SECONDS,
    Child,
    adopt_orphans,
    end_adopted,
    start_child,
    stop_all,
)
from aitbc.cli.failures import CommandError
from aitbc.cli.output import note, print_json
from node.exit_codes import ExitCode

STATE_FILE: Final = "devnet.json"
COMMAND: Final = (sys.executable, "-m", "aitbc.cli.main")
MAX_VALIDATORS: Final = 16
P2P_OFFSET: Final = 1_000
"""A node's port for peers is that of its API and this."""

NODE_SECONDS: Final = 60.0
MINER_SECONDS: Final = 600.0
"""How long a miner may take to be ready: its first start fetches the models."""

_POLL_SECONDS: Final = 0.1
_TAIL_LINES: Final = 12
_ENDED: Final = -1


class Options(NamedTuple):
    """What was asked for; `folder` is absolute."""

    folder: Path
    wanted: Wanted
    base_port: int
    is_fresh: bool
    as_json: bool


class Stop:
    """Set by SIGINT or SIGTERM; whoever waits, waits on it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether the devnet is to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`, and tell whether the devnet is to end."""
        return self._event.wait(seconds)


class Devnet:
    """The processes of one network, and the file that says where they are."""

    def __init__(self, options: Options, network: Network) -> None:
        self.options = options
        self.network = network
        self.nodes: list[Child] = []
        self.miners: list[Child] = []
        self._stop = Stop()
        self._said: set[tuple[str, int]] = set()

    def run(self) -> None:
        """Start everything and watch it until a signal comes. Raises `CommandError`."""
        adopt_orphans()
        (self.options.folder / STATE_FILE).unlink(missing_ok=True)
        try:
            # Miners wait for their node by themselves, so that models load while it starts.
            self._start_nodes()
            self._start_miners()
            if not self._wait_for_nodes():
                return
            self._write_state(is_ready=False)
            if not self._wait_for_miners():
                return
            self._write_state(is_ready=True)
            self._say_ready()
            while not self._stop.wait(_POLL_SECONDS):
                self._say_ended()
        finally:
            note("stopping")
            stop_all([self.miners, self.nodes])
            end_adopted()
            note("stopped")

    def get_url(self, number: int) -> str:
        """Return the address of the API of the node with this number, from 0."""
        return f"http://{HOST}:{self.options.base_port + number}"

    def get_peer_address(self, number: int) -> str:
        """Return the multiaddress of the node with this number."""
        port = self.options.base_port + number + P2P_OFFSET
        return f"/ip4/{HOST}/tcp/{port}/p2p/{self.network.nodes[number].peer_id}"

    def _start_nodes(self) -> None:
        folder = self.options.folder
        for number, node in enumerate(self.network.nodes):
            api_port = self.options.base_port + number
            check_port(api_port)
            check_port(api_port + P2P_OFFSET)
            others = [each for each in range(len(self.network.nodes)) if each != number]
            environment = {
                "AITBC_API_HOST": HOST,
                "AITBC_API_PORT": str(api_port),
                "AITBC_P2P_LISTEN": f"{HOST}:{api_port + P2P_OFFSET}",
                "AITBC_P2P_BOOTSTRAP": ",".join(map(self.get_peer_address, others)),
            }
            data = str(folder / node.folder)
            # By the light command: a spawned prover imports the main module of its parent again.
            arguments = [*COMMAND, "node", "run", "--data", data]
            log = folder / "logs" / f"{node.folder}.log"
            self.nodes.append(start_child(node.folder, arguments, log, environment))
        note(f"starting {len(self.nodes)} validator(s); logs in {folder / 'logs'}")

    def _wait_for_nodes(self) -> bool:
        with httpx2.Client(timeout=2.0) as http:
            return all(
                self._wait_for(child, NODE_SECONDS, partial(_is_ready, http, self.get_url(number)))
                for number, child in enumerate(self.nodes)
            )

    def _start_miners(self) -> None:
        folder = self.options.folder
        for miner in self.network.miners:
            log = folder / "logs" / f"{miner.id}.log"
            environment = self._build_miner_environment(miner)
            arguments = [*COMMAND, "miner", "run"]
            self.miners.append(start_child(miner.id, arguments, log, environment))

    def _wait_for_miners(self) -> bool:
        with httpx2.Client(timeout=2.0) as http:
            return all(
                self._wait_for(child, MINER_SECONDS, partial(self._is_mining, http, child, miner))
                for child, miner in zip(self.miners, self.network.miners, strict=True)
            )

    def _build_miner_environment(self, miner: Miner) -> dict[str, str]:
        """Return a miner's settings. By environment, since it holds secrets and argv is public."""
        folder = self.options.folder
        settings = {
            "miner_id": miner.id,
            "api_urls": json.dumps([self.get_url(miner.node)]),
            "api_key": miner.api_key,
            "key_file": str(folder / "keys" / f"{miner.key}.key"),
            "key_password_file": str(folder / "keys.password"),
            "data_folder": str(folder / miner.id),
            "drain_seconds": str(STOP_SECONDS - 1),
            "log_json": "true",
        }
        return {f"AITBC_MINER_{name.upper()}": value for name, value in settings.items()}

    def _is_mining(self, http: httpx2.Client, child: Child, miner: Miner) -> bool:
        """Tell whether a miner holds its models and its registration is final."""
        events = read_events(child.read_log())
        percent = next((event["percent"] for event in events if "percent" in event), None)
        if percent is not None and (child.name, percent) not in self._said:
            self._said.add((child.name, percent))
            note(f"  {child.name} fetches its model: {percent} %")
        is_registered = any(event.get("event") == "registered" for event in events)
        return is_registered and _is_active(http, self.get_url(miner.node), child.name)

    def _wait_for(self, child: Child, seconds: float, is_done: Callable[[], bool]) -> bool:
        """Wait for a child; False when the devnet is to end. Raises `CommandError`."""
        end = time.monotonic() + seconds
        while not is_done():
            if self._stop.wait(_POLL_SECONDS):
                return False
            if not child.is_running():
                raise CommandError(
                    f"{child.describe_end()}; the end of its log:\n{_read_tail(child)}",
                    _get_exit_code(child),
                    f"read {child.log}",
                )
            if time.monotonic() >= end:
                raise CommandError(
                    f"{child.name} is not ready after {seconds:.0f} s; the end of its log:\n"
                    f"{_read_tail(child)}",
                    ExitCode.TIMED_OUT,
                    f"read {child.log}",
                )
        return True

    def _say_ended(self) -> None:
        """Name each process that ended by itself; nothing is started again."""
        for child in (*self.nodes, *self.miners):
            if (child.name, _ENDED) not in self._said and not child.is_running():
                self._said.add((child.name, _ENDED))
                note(f"{child.describe_end()}; the others go on")

    def _write_state(self, *, is_ready: bool) -> None:
        write_json(self.options.folder / STATE_FILE, self._describe(is_ready=is_ready))

    def _describe(self, *, is_ready: bool) -> dict[str, Any]:
        folder = self.options.folder
        nodes = [
            {
                "api": self.get_url(number),
                "p2p": self.get_peer_address(number),
                "pid": child.pid,
                "data": str(folder / node.folder),
                "database": str(folder / node.folder / "node.db"),
                "key_file": str(folder / node.folder / "database.key"),
                "address": node.address,
                "api_keys": node.api_keys,
                "log": str(child.log),
            }
            for number, (node, child) in enumerate(zip(self.network.nodes, self.nodes, strict=True))
        ]
        return {
            "ready": is_ready,
            "pid": os.getpid(),
            "chain_id": self.network.chain_id,
            "genesis": str(folder / "genesis.json"),
            "nodes": nodes,
            "api_keys": self.network.nodes[0].api_keys,
            "accounts": self.network.accounts,
            "keystore": str(folder / "keys"),
            "keystore_password_file": str(folder / "keys.password"),
            "miners": [
                {"id": child.name, "pid": child.pid, "log": str(child.log)} for child in self.miners
            ],
        }

    def _say_ready(self) -> None:
        if self.options.as_json:
            print_json(self._describe(is_ready=True))
        else:
            print(
                f"ready: {len(self.nodes)} validator(s), {len(self.miners)} miner(s), "
                f"API {self.get_url(0)}, keys and process ids in "
                f"{self.options.folder / STATE_FILE}"
            )
        sys.stdout.flush()
        note("Ctrl-C stops everything")


def run_devnet(options: Options) -> None:
    """Run a development network until SIGINT or SIGTERM. Raises `CommandError`."""
    folder, wanted = options.folder, options.wanted
    if wanted.validators > MAX_VALIDATORS:
        raise CommandError(
            f"a development network has at most {MAX_VALIDATORS} validators",
            ExitCode.USAGE,
            f"aitbc devnet --validators {MAX_VALIDATORS} --data {folder}",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _hold_folder(folder):
        if options.is_fresh:
            clear_network(folder)
        network = find_network(folder, wanted) or _create(folder, wanted)
        Devnet(options, network).run()


def _create(folder: Path, wanted: Wanted) -> Network:
    # Imported for a new network alone: it takes the whole node with it.
    from aitbc.cli.devnet.creation import create_network

    note(f"making a new network in {folder}")
    return create_network(folder, wanted)


@contextmanager
def _hold_folder(folder: Path) -> Iterator[None]:
    """Keep a second devnet out of the folder."""
    with (folder / LOCK_FILE).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another development network runs in {folder}",
                ExitCode.DATA_FOLDER_LOCKED,
                "stop it, or name another folder with --data",
            ) from None
        yield


def _is_ready(http: httpx2.Client, url: str) -> bool:
    try:
        return http.get(f"{url}/readyz").status_code == httpx2.codes.OK
    except httpx2.RequestError:
        return False


def _is_active(http: httpx2.Client, url: str, miner: str) -> bool:
    try:
        answer = http.get(f"{url}/explorer/miners/{miner}")
        return answer.status_code == httpx2.codes.OK and answer.json()["is_active"] is True
    except (httpx2.RequestError, ValueError):
        return False


def read_events(lines: list[str]) -> list[dict[str, Any]]:
    """Return the JSON lines of a log, the latest first; other lines are left out."""
    events = []
    for line in reversed(lines):
        if line.startswith("{"):
            with suppress(ValueError):
                events.append(json.loads(line))
    return events


def _read_tail(child: Child) -> str:
    return "\n".join(child.read_log()[-_TAIL_LINES:])


def _get_exit_code(child: Child) -> ExitCode:
    code = child.process.returncode
    return ExitCode(code) if code > 0 and code in set(ExitCode) else ExitCode.UNEXPECTED
