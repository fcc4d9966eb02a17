"""The parts of libp2p that this transport uses, and none of the rest.

`import libp2p` also loads QUIC, WebSockets, TLS certificates by ACME, a DHT, mDNS, two HTTP clients
and more: a second of CPU at each start of a node and 29 MB in each. Some of its packages load them
in their own files, so these packages are put in place here without running those files; what is
imported below then finds its modules as usual. The version is pinned, since the names that one
module takes from another have to stay where they are.
"""

import logging
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

VERSION: Final = "0.8.1"
BARE_PACKAGES: Final = (
    "libp2p",
    "libp2p.network",
    "libp2p.security",
    "libp2p.transport",
    "libp2p.transport.quic",
)


def _put_bare_packages() -> None:
    """Put the packages in place, unless the whole library has been loaded by somebody else."""
    spec = find_spec("libp2p")
    assert spec is not None and spec.submodule_search_locations, "libp2p is not installed"
    assert version("libp2p") == VERSION, f"libp2p is {version('libp2p')}, not {VERSION}"
    folder = Path(spec.submodule_search_locations[0])
    for name in BARE_PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    # Named in a type of libp2p.custom_types, for which QUIC would be loaded.
    stream = ModuleType("libp2p.transport.quic.stream")
    stream.__dict__["QUICStream"] = object
    sys.modules[stream.__name__] = stream


if "libp2p" not in sys.modules:
    _put_bare_packages()

from libp2p.abc import IRawConnection, ISecureConn  # noqa: E402 - after the packages above
from libp2p.connection_types import ConnectionType  # noqa: E402
from libp2p.crypto.ed25519 import create_new_key_pair as create_identity  # noqa: E402
from libp2p.crypto.keys import KeyPair, PrivateKey, PublicKey  # noqa: E402
from libp2p.crypto.x25519 import create_new_key_pair as create_static_key  # noqa: E402
from libp2p.custom_types import TProtocol  # noqa: E402
from libp2p.exceptions import BaseLibp2pError  # noqa: E402
from libp2p.io.exceptions import ConnectionClosedError, IOException  # noqa: E402
from libp2p.network.exceptions import SwarmException  # noqa: E402
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF  # noqa: E402
from libp2p.peer.id import ID  # noqa: E402
from libp2p.peer.peerstore import PeerStore  # noqa: E402
from libp2p.protocol_muxer.multiselect import Multiselect  # noqa: E402
from libp2p.protocol_muxer.multiselect_client import MultiselectClient  # noqa: E402
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator  # noqa: E402
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub  # noqa: E402
from libp2p.pubsub.pb import rpc_pb2  # noqa: E402
from libp2p.pubsub.pubsub import Pubsub  # noqa: E402
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE  # noqa: E402
from libp2p.security.noise.transport import Transport as NoiseTransport  # noqa: E402
from libp2p.security.security_multistream import SecurityMultistream  # noqa: E402
from libp2p.tools.anyio_service import background_trio_service  # noqa: E402

__all__ = [
    "ID",
    "NOISE",
    "PROTOCOL_ID_V11",
    "BaseLibp2pError",
    "ConnectionClosedError",
    "ConnectionType",
    "GossipSub",
    "IOException",
    "IRawConnection",
    "ISecureConn",
    "KeyPair",
    "Multiselect",
    "MultiselectClient",
    "MultiselectCommunicator",
    "NoiseTransport",
    "PeerStore",
    "PrivateKey",
    "PublicKey",
    "Pubsub",
    "SecurityMultistream",
    "StreamClosed",
    "StreamEOF",
    "SwarmException",
    "TProtocol",
    "background_trio_service",
    "create_identity",
    "create_static_key",
    "rpc_pb2",
]

# Whatever a peer does is counted and logged by this package; the library's lines are at its will.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
