"""How a libp2p peer id is bound to a node's key: by one signature of that key (rule W1).

The key that signs votes never enters the transport. It signs once, for the peer id of a second key
that is derived from it, and the transport shows that signature to every peer.
"""

import hmac
from hashlib import sha256

from ledger import crypto
from p2p.interface import NetworkIdentity

TRANSPORT_PURPOSE = b"aitbc/transport/1\x00"

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_IDENTITY_MULTIHASH = bytes([0x00, 36])
_ED25519_PROTOBUF = bytes([0x08, 0x01, 0x12, 32])


def derive_transport_seed(seed: bytes) -> bytes:
    """Return the Ed25519 seed of a node's libp2p identity (32 bytes), from the node's own seed."""
    return hmac.digest(seed, TRANSPORT_PURPOSE, sha256)


def compute_peer_id(public_key: bytes) -> str:
    """Return the libp2p peer id of an Ed25519 public key: base58 of the key behind its headers."""
    data = _IDENTITY_MULTIHASH + _ED25519_PROTOBUF + public_key
    number = int.from_bytes(data)
    text = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return _ALPHABET[0] * (len(data) - len(data.lstrip(b"\0"))) + text


def sign_binding(seed: bytes, chain_id: bytes, peer_id: str) -> bytes:
    """Return the signature (64 bytes) by which a node's key vouches for a peer id on one chain."""
    return crypto.sign(seed, _compute_binding_bytes(chain_id, peer_id))


def is_valid_binding(key: bytes, chain_id: bytes, peer_id: str, binding: bytes) -> bool:
    """Tell whether a node's key vouched for a peer id on this chain."""
    return crypto.is_valid_signature(key, _compute_binding_bytes(chain_id, peer_id), binding)


def make_identity(seed: bytes, chain_id: bytes, agent: str) -> NetworkIdentity:
    """Return what the transport of a node with this seed has to know, the seed itself not in it."""
    transport_seed = derive_transport_seed(seed)
    peer_id = compute_peer_id(crypto.compute_public_key(transport_seed))
    return NetworkIdentity(
        chain_id=chain_id,
        transport_seed=transport_seed,
        key=crypto.compute_public_key(seed),
        binding=sign_binding(seed, chain_id, peer_id),
        agent=agent,
    )


def _compute_binding_bytes(chain_id: bytes, peer_id: str) -> bytes:
    return crypto.TAG_PEER_BINDING + chain_id + peer_id.encode()
