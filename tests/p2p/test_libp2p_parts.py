"""Only the parts of libp2p that are used are loaded, and they are the library's own."""

import subprocess
import sys

from p2p import libp2p_parts

LOADED = """
import sys
import p2p.thread
print(*sorted(sys.modules))
"""
UNUSED = (
    "aioquic",
    "dns",
    "httpx",
    "libp2p.host",
    "libp2p.kad_dht",
    "libp2p.network.swarm",
    "libp2p.relay",
    "libp2p.security.insecure",
    "libp2p.security.secio",
    "libp2p.security.tls",
    "libp2p.transport.tcp",
    "libp2p.transport.websocket",
    "miniupnpc",
    "requests",
    "zeroconf",
)


def test_nothing_that_is_not_used_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert {"libp2p.pubsub.gossipsub", "libp2p.security.noise.transport"} <= loaded
    assert sorted(loaded & set(UNUSED)) == []


def test_what_is_used_is_the_librarys() -> None:
    for name in libp2p_parts.__all__:
        module = getattr(getattr(libp2p_parts, name), "__module__", "libp2p")
        assert module.startswith(("libp2p", "contextlib")) or name == "TProtocol", name
