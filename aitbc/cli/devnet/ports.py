"""Which ports of this machine a network may take."""

import socket
from typing import Final

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

HOST: Final = "127.0.0.1"


def find_free_port() -> int:
    """Return a port that nobody has now; the system names another one to the next caller."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Raise `CommandError` when a port of this machine is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"port {port} cannot be used: {error.strerror}",
                ExitCode.CONFIGURATION,
                f"aitbc devnet --base-port {port + 100} …",
            ) from None
