import secrets

import pytest
from nacl.public import PrivateKey

from coordinator import sealing
from ledger.crypto import compute_public_key
from ledger.rejection import Rejected, Rejection


def test_a_box_for_a_coordinator_is_opened_by_its_seed_alone() -> None:
    seed, other = secrets.token_bytes(32), secrets.token_bytes(32)
    box = sealing.seal(b"a result", sealing.compute_box_key(compute_public_key(seed)))
    assert sealing.unseal(box, sealing.derive_box_key(seed)) == b"a result"
    with pytest.raises(Rejected) as caught:
        sealing.unseal(box, sealing.derive_box_key(other))
    assert caught.value.reason is Rejection.MALFORMED


@pytest.mark.parametrize("box", [b"", bytes(47), bytes(48), bytes(100)])
def test_what_is_no_box_does_not_open(box: bytes) -> None:
    with pytest.raises(Rejected):
        sealing.unseal(box, PrivateKey(bytes([1]) * 32))


@pytest.mark.parametrize("key", [bytes(32), bytes([1]) + bytes(31), bytes(31), b""])
def test_nothing_is_sealed_to_what_is_no_key_of_a_coordinator(key: bytes) -> None:
    with pytest.raises(Rejected):
        sealing.compute_box_key(key)


def test_nothing_is_sealed_to_a_key_of_small_order() -> None:
    with pytest.raises(Rejected):
        sealing.seal(b"x", bytes(32))
