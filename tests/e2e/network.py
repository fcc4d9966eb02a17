"""A network of namespaces inside this process's own: a link cut here is cut for the kernel.

Each node has two links: one to a bridge for its peers, one to a bridge on which its API is asked.
A partition plugs the first into another bridge; nothing is said to the connections on it, as when
a cable is pulled. A namespace is held by a sleeping process, so that all is gone when this is.
"""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.cluster.sites import Place

API_PORT: Final = 8001
P2P_PORT: Final = 9001
SIDES: Final = 2
HOLD_SECONDS: Final = 30.0

_PEERS: Final = "10.77.0"
_CONTROL: Final = "10.78.0"
_OWN: Final = 254


class Namespaces:
    """So many places for nodes, each in a namespace of its own. `close` ends them."""

    def __init__(self, count: int) -> None:
        """Build it. Raises `CalledProcessError` with what `ip` said."""
        self._holders: list[subprocess.Popen[bytes]] = []
        _run("ip", "link", "set", "lo", "up")
        for bridge in ("control", *(f"side{side}" for side in range(SIDES))):
            _run("ip", "link", "add", bridge, "type", "bridge")
            _run("ip", "link", "set", bridge, "up")
        _run("ip", "address", "add", f"{_CONTROL}.{_OWN}/24", "dev", "control")
        for number in range(count):
            self._add_place(number)

    def get_place(self, number: int) -> Place:
        """Return where the node with this number listens."""
        host = number + 1
        return Place(f"{_CONTROL}.{host}", API_PORT, f"{_PEERS}.{host}", P2P_PORT)

    def wrap(self, number: int, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs a program in a node's namespace."""
        target = str(self._holders[number].pid)
        return ["nsenter", "--target", target, "--net", *arguments]

    def split(self, away: Collection[int]) -> None:
        """Cut these nodes, together, off from the others."""
        for number in range(len(self._holders)):
            _run("ip", "link", "set", f"peers{number}", "master", f"side{int(number in away)}")

    def heal(self) -> None:
        """Plug every node into one bridge again."""
        self.split(())

    def mute(self, number: int, towards: Collection[int]) -> None:
        """Let nothing that a node sends reach some others; it hears them all the same."""
        for other in towards:
            self._run_in(number, "ip", "route", "add", "blackhole", f"{_PEERS}.{other + 1}/32")

    def unmute(self, number: int, towards: Collection[int]) -> None:
        """Take back what `mute` did."""
        for other in towards:
            self._run_in(number, "ip", "route", "del", "blackhole", f"{_PEERS}.{other + 1}/32")

    def close(self) -> None:
        """End the namespaces and take the bridges away."""
        for holder in self._holders:
            holder.kill()
            holder.wait()
        for bridge in ("control", *(f"side{side}" for side in range(SIDES))):
            _run("ip", "link", "delete", bridge)

    def _add_place(self, number: int) -> None:
        # By the wrapper that ends with this process, however that ends.
        wrapper = [sys.executable, "-m", "aitbc.cli.devnet.child", str(os.getpid())]
        holder = subprocess.Popen([*wrapper, "unshare", "--net", "sleep", "infinity"])
        self._holders.append(holder)
        _wait_apart(holder.pid)
        links = (("peers", _PEERS, "side0"), ("control", _CONTROL, "control"))
        for name, network, bridge in links:
            outer, inner = f"{name}{number}", f"{name}-in"
            peer = ("peer", "name", inner, "netns", str(holder.pid))
            _run("ip", "link", "add", outer, "type", "veth", *peer)
            _run("ip", "link", "set", outer, "master", bridge, "up")
            address = f"{network}.{number + 1}/24"
            self._run_in(number, "ip", "address", "add", address, "dev", inner)
            self._run_in(number, "ip", "link", "set", inner, "up")
        self._run_in(number, "ip", "link", "set", "lo", "up")

    def _run_in(self, number: int, *arguments: str) -> None:
        _run(*self.wrap(number, arguments))


def _wait_apart(pid: int) -> None:
    """Return once a process is in a network namespace of its own. Raises `TimeoutError`."""
    own = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + HOLD_SECONDS
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        if time.monotonic() > end:
            raise TimeoutError("no network namespace")
        time.sleep(0.01)


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True)
