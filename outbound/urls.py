"""Which URLs may be asked at all, before any name is resolved. Pure."""

import re
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from outbound.errors import OutboundError, Refusal

MAX_LENGTH: Final = 2_048
LEAST_FREE_PORT: Final = 1_024
"""Below it only the web's own ports are asked: no mail server or database speaks HTTP."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9.])?", re.ASCII)
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}", re.ASCII)


class Target(NamedTuple):
    """A URL that may be asked, in parts."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str) -> Target:
    """Return the parts of a URL. Raises `OutboundError(URL_REFUSED)`."""
    if len(text) > MAX_LENGTH or _VISIBLE.fullmatch(text) is None or "\\" in text:
        raise _refuse(f"a URL has up to {MAX_LENGTH} visible ASCII characters and no backslash")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _refuse("this is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refuse("only http and https are asked")
    if "@" in parts.netloc:
        raise _refuse("a URL names no user")
    host = parts.hostname or ""
    if (_IPV6 if ":" in host else _NAME).fullmatch(host) is None:
        raise _refuse("the host is not a name or an address")
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    if port not in _DEFAULT_PORTS.values() and port < LEAST_FREE_PORT:
        raise _refuse(f"port {port} is not asked")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def follow(target: Target, location: str) -> Target:
    """Return where a redirect leads. Raises `OutboundError(URL_REFUSED)`."""
    try:
        joined = urljoin(target.url, location)
    except ValueError:
        raise _refuse("the redirect leads to no URL") from None
    following = parse_url(joined)
    if target.scheme == "https" and following.scheme == "http":
        raise _refuse("a redirect from https to http is not followed")
    return following


def _refuse(detail: str) -> OutboundError:
    return OutboundError(Refusal.URL_REFUSED, detail)
