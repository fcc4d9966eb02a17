"""Who vouches for which peer id, on which chain."""

from ledger import crypto
from p2p.binding import (
    compute_peer_id,
    derive_transport_seed,
    is_valid_binding,
    make_identity,
    sign_binding,
)
from p2p.host import Host
from tests.p2p.networks import CHAIN, make_seed

SEED = make_seed(1)
KEY = crypto.compute_public_key(SEED)


def test_the_peer_id_is_libp2ps() -> None:
    for number in range(20):
        seed = derive_transport_seed(make_seed(number))
        assert compute_peer_id(crypto.compute_public_key(seed)) == Host(seed).peer_id


def test_a_binding_holds_for_one_key_chain_and_peer() -> None:
    binding = sign_binding(SEED, CHAIN, "peer")
    assert is_valid_binding(KEY, CHAIN, "peer", binding)
    assert not is_valid_binding(KEY, CHAIN, "other", binding)
    assert not is_valid_binding(KEY, bytes(32), "peer", binding)
    assert not is_valid_binding(crypto.compute_public_key(make_seed(2)), CHAIN, "peer", binding)
    assert not is_valid_binding(KEY, CHAIN, "peer", binding[:-1])
    assert not is_valid_binding(bytes(32), CHAIN, "peer", bytes(64))


def test_a_binding_is_no_signature_of_anything_else() -> None:
    binding = sign_binding(SEED, CHAIN, "peer")
    assert not crypto.is_valid_signature(KEY, CHAIN + b"peer", binding)


def test_the_transport_holds_no_key_but_its_own() -> None:
    identity = make_identity(SEED, CHAIN, "node/1")
    assert identity.key == KEY and identity.chain_id == CHAIN and identity.agent == "node/1"
    assert identity.transport_seed == derive_transport_seed(SEED) != SEED
    peer_id = Host(identity.transport_seed).peer_id
    assert is_valid_binding(KEY, CHAIN, peer_id, identity.binding)
