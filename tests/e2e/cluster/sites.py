"""Where the nodes of a cluster stand on the network: all on loopback, or each in a namespace."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from aitbc.cli.devnet.ports import HOST, check_port
from aitbc.cli.failures import CommandError

_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 30_000
"""Below the range from which the system names ports to connections: a port stays a node's own
while the node is down."""


class Place(NamedTuple):
    """Where one node listens: for clients and for peers."""

    api_host: str
    api_port: int
    p2p_host: str
    p2p_port: int


class Site(Protocol):
    """The network that a cluster runs on."""

    def get_place(self, number: int) -> Place:
        """Return where the node with this number listens."""
        ...

    def wrap(self, number: int, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs a program where this node stands."""
        ...


class Loopback:
    """Every node on this machine's loopback, each with ports of its own."""

    def __init__(self, count: int) -> None:
        self._ports = _find_ports(2 * count)

    def get_place(self, number: int) -> Place:
        """Return where the node with this number listens."""
        return Place(HOST, self._ports[2 * number], HOST, self._ports[2 * number + 1])

    def wrap(self, number: int, arguments: Sequence[str]) -> list[str]:
        """Return the command as it is."""
        return list(arguments)


def _find_ports(count: int) -> list[int]:
    """Return so many ports that nobody has now, at a random place: other runs look as well."""
    ports: list[int] = []
    port = random.randrange(_FIRST_PORT, _LAST_PORT - 100 * count)
    while len(ports) < count:
        try:
            check_port(port)
        except CommandError:
            pass
        else:
            ports.append(port)
        port += 1
    return ports
