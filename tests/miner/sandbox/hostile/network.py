"""Reaches for the network: TCP, UDP, names, a socket without a path, a virtual machine's host."""

import socket
from typing import Any

from tests.miner.sandbox.hostile.attack import attempt, read_targets


def connect(family: int, kind: int, address: Any) -> str:
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)
        made.send(b"escaped")
        return "sent"


def main() -> None:
    targets = read_targets()
    port = targets["port"]
    for host in ("127.0.0.1", targets["host"], "192.0.2.1"):
        attempt(f"tcp {host}", connect, socket.AF_INET, socket.SOCK_STREAM, (host, port))
    attempt("udp", connect, socket.AF_INET, socket.SOCK_DGRAM, (targets["host"], port))
    name = "\0" + targets["abstract"]
    attempt("abstract", connect, socket.AF_UNIX, socket.SOCK_STREAM, name)
    attempt("names", socket.getaddrinfo, "example.org", 80)
    # None of them is kept apart by a network namespace, or each is a large part of the kernel.
    for family, kind in (
        (socket.AF_VSOCK, socket.SOCK_STREAM),
        (socket.AF_ALG, socket.SOCK_SEQPACKET),
        (socket.AF_NETLINK, socket.SOCK_RAW),
        (socket.AF_PACKET, socket.SOCK_RAW),
    ):
        attempt(f"family {family.name}", socket.socket, family, kind)


main()
