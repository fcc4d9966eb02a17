"""Which multiaddresses this transport dials: TCP at an IP address or name, with the peer id.

Rule W2. Without the peer id Noise could not tell whether it reached the right node.
"""

import re
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from ledger.rejection import Rejected, Rejection

MAX_ADDRESS_BYTES: Final = 160

_ADDRESS = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/([A-Za-z0-9.:-]{1,100})/tcp/([1-9][0-9]{0,4})"
    r"/p2p/(12D3KooW[1-9A-HJ-NP-Za-km-z]{44})"
)


class Address(Struct, frozen=True):
    """Where a peer can be dialled."""

    host: str
    port: int
    peer_id: str
    text: str


def parse_address(text: str) -> Address:
    """Return the parts of a multiaddress. Raises `Rejected(MALFORMED)`."""
    match = _ADDRESS.fullmatch(text) if len(text) <= MAX_ADDRESS_BYTES else None
    if match is None:
        raise Rejected(
            Rejection.MALFORMED, "an address is /ip4|ip6|dns/HOST/tcp/PORT/p2p/PEER of Ed25519"
        )
    kind, host, port, peer_id = match.groups()
    if int(port) > 65_535:
        raise Rejected(Rejection.MALFORMED, f"{port} is no TCP port")
    if kind in ("ip4", "ip6"):
        if not format_endpoint(host, int(port)).startswith(f"/{kind}/"):
            raise Rejected(Rejection.MALFORMED, f"{host} is no address of {kind}")
    return Address(host, int(port), peer_id, text)


def format_address(host: str, port: int, peer_id: str) -> str:
    """Return the multiaddress of a peer at an IP address or name."""
    return f"{format_endpoint(host, port)}/p2p/{peer_id}"


def format_endpoint(host: str, port: int) -> str:
    """Return the multiaddress of one end of a connection, the peer id not in it."""
    try:
        kind = f"ip{ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}"


def is_unspecified(host: str) -> bool:
    """Tell whether a host to listen on means every interface, so that nobody can dial it."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
