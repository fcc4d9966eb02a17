"""The packaged DEV key: marked, whole, and visibly made of nothing secret."""

import hashlib

from zk.ceremony.__main__ import BEACON_NAME, BEACONS
from zk.devkey import (
    DEV_KEY_ID,
    is_dev_key,
    load_dev_proving_key,
    load_dev_verifying_key,
    read_dev_zkey,
)

# What `python -m zk.ceremony dev-key` makes, on any machine.
ZKEY_SHA256 = "a0899070e10dc5a8246c1a08776584d93aea58f2a8345e4eeb6cf1f0fa1fb594"


def test_the_packaged_files_are_the_reproducible_ones() -> None:
    assert hashlib.sha256(read_dev_zkey()).hexdigest() == ZKEY_SHA256
    assert load_dev_proving_key().verifying_key == load_dev_verifying_key()


def test_its_only_secret_of_phase_2_is_the_public_beacon() -> None:
    data = read_dev_zkey()
    contributions = data[data.rindex(BEACON_NAME.encode()) - 10 :]
    assert bytes.fromhex(BEACONS[1]) in contributions
    assert data.count(BEACON_NAME.encode()) == 1


def test_it_is_known_by_its_id_alone() -> None:
    assert is_dev_key(DEV_KEY_ID)
    assert load_dev_verifying_key().key_id == DEV_KEY_ID
    assert not is_dev_key(DEV_KEY_ID[:-1])
