"""Which IP addresses may be asked on a stranger's word: those of the public internet alone.

Pure. An IPv6 address that carries an IPv4 one (mapped, 6to4, Teredo, NAT64) is refused: whoever
means the IPv4 address can name it.
"""

import ipaddress
from typing import Final

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL: Final = (
    ipaddress.IPv6Network("2001::/23"),  # Teredo and other protocol assignments (RFC 2928)
    ipaddress.IPv6Network("2001:db8::/32"),  # documentation (RFC 3849)
    ipaddress.IPv6Network("2002::/16"),  # 6to4 (RFC 3056)
    ipaddress.IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    ipaddress.IPv4Network("240.0.0.0/4"),  # reserved, broadcast
)


def is_public(text: str) -> bool:
    """Tell whether an address is global unicast and nobody's inside."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # `fe80::1%eth0` and the like: an address with a zone is a link's own.
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def is_loopback(text: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
