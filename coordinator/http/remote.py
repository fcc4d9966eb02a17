"""From where a request comes, behind a reverse proxy on the same machine too."""

from collections.abc import Sequence
from ipaddress import ip_address

from aiohttp import web


def find_remote(request: web.BaseRequest) -> str | None:
    """Return the address of whoever asked."""
    return choose_address(request.remote, request.headers.getall("X-Forwarded-For", []))


def choose_address(peer: str | None, forwarded_for: Sequence[str]) -> str | None:
    """Return the address of whoever asked, of the connection's and what its headers say.

    A connection over loopback is a proxy's on this machine, if it says for whom it asks: the last
    address of `X-Forwarded-For` is the one that the proxy saw, all before it the client's own word.
    From elsewhere the header is anybody's word, and not looked at.
    """
    if not forwarded_for or not _is_loopback(peer):
        return peer
    try:
        return str(ip_address(forwarded_for[-1].rpartition(",")[2].strip()))
    except ValueError:
        return peer


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False
