import json
import os
from pathlib import Path

import pytest

from ledger import crypto, keystore
from ledger.keystore import Cost, Keystore

SEED = bytes(range(32))
PASSWORD = b"correct horse"
CHEAP = Cost(1, 8192)


@pytest.fixture
def keys(tmp_path: Path) -> Keystore:
    store = Keystore(tmp_path / "keys")
    store.add("alice", SEED, PASSWORD, CHEAP)
    return store


def test_a_key_comes_back(keys: Keystore) -> None:
    assert keys.open("alice", PASSWORD) == SEED
    public_key = crypto.compute_public_key(SEED)
    info = keys.get("alice")
    assert info.public_key == public_key.hex()
    assert info.address == crypto.format_address(crypto.compute_address(public_key))
    assert list(keys.iterate()) == [info]


def test_the_default_cost_opens_too() -> None:
    assert keystore.open_seed(keystore.seal_seed(SEED, PASSWORD), PASSWORD) == SEED


def test_the_seed_is_nowhere_in_the_file(keys: Keystore) -> None:
    data = keys.get_path("alice").read_bytes()
    assert SEED not in data
    assert SEED.hex().encode() not in data


def test_two_files_of_one_seed_differ() -> None:
    first, second = (json.loads(keystore.seal_seed(SEED, PASSWORD, CHEAP)) for _ in range(2))
    assert first["salt"] != second["salt"]
    assert first["sealed"] != second["sealed"]


@pytest.mark.parametrize("password", [b"", b"correct horse ", b"Correct horse"])
def test_a_wrong_password_is_refused(keys: Keystore, password: bytes) -> None:
    with pytest.raises(keystore.WrongPasswordError):
        keys.open("alice", password)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("public_key", "00" * 32),
        ("salt", "00" * 16),
        ("passes", 2),
        ("memory", 16_384),
        ("sealed", "AAAA"),
        ("sealed", "not base64"),
        ("sealed", "A" * 96),
    ],
)
def test_a_changed_file_is_refused(keys: Keystore, member: str, value: object) -> None:
    path = keys.get_path("alice")
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, member: value}))
    with pytest.raises(keystore.KeystoreError):
        keys.open("alice", PASSWORD)


def test_an_address_that_is_not_the_keys_is_never_shown(keys: Keystore) -> None:
    path = keys.get_path("alice")
    document = json.loads(path.read_bytes())
    thief = crypto.format_address(bytes(20))
    path.write_text(json.dumps({**document, "address": thief}))
    for use in (
        keys.get,
        lambda name: list(keys.iterate()),
        lambda name: keys.open(name, PASSWORD),
    ):
        with pytest.raises(keystore.KeystoreError, match="address"):
            use("alice")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        json.dumps({"format": "other/1"}).encode(),
    ],
)
def test_what_is_no_key_file_is_refused(data: bytes) -> None:
    with pytest.raises(keystore.KeystoreError, match="not a key file"):
        keystore.open_seed(data, PASSWORD)


@pytest.mark.parametrize(("member", "value"), [("memory", 2**40), ("passes", 10**6)])
def test_a_file_cannot_ask_for_endless_work(member: str, value: int) -> None:
    document = json.loads(keystore.seal_seed(SEED, PASSWORD, CHEAP))
    with pytest.raises(keystore.KeystoreError, match=member):
        keystore.open_seed(json.dumps({**document, member: value}).encode(), PASSWORD)


def test_the_file_is_the_owners_alone(keys: Keystore) -> None:
    path = keys.get_path("alice")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_touch_is_refused(keys: Keystore, mode: int) -> None:
    os.chmod(keys.get_path("alice"), mode)
    with pytest.raises(keystore.LoosePermissionsError, match=f"{mode:04o}"):
        keys.open("alice", PASSWORD)


def test_a_key_is_never_overwritten(keys: Keystore) -> None:
    with pytest.raises(keystore.KeyExistsError):
        keys.add("alice", bytes(32), PASSWORD, CHEAP)
    with pytest.raises(keystore.KeyExistsError):
        keystore.write_private_file(keys.get_path("alice"), b"other")
    assert keys.open("alice", PASSWORD) == SEED
    assert [path.name for path in keys.folder.iterdir()] == ["alice.key"]


def test_another_password_takes_over(keys: Keystore) -> None:
    keys.replace("alice", SEED, b"new", CHEAP)
    assert keys.open("alice", b"new") == SEED
    with pytest.raises(keystore.WrongPasswordError):
        keys.open("alice", PASSWORD)


@pytest.mark.parametrize("name", ["", "../alice", "Alice", "a/b", "a" * 65, "-a", "a\n", ".a"])
def test_a_name_that_is_no_file_name_is_refused(keys: Keystore, name: str) -> None:
    with pytest.raises(keystore.KeystoreError, match="no key name"):
        keys.open(name, PASSWORD)


def test_a_missing_key_is_named(keys: Keystore) -> None:
    with pytest.raises(keystore.KeyMissingError, match="'bob'"):
        keys.open("bob", PASSWORD)


def test_an_endless_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.key"
    keystore.write_private_file(path, b" " * 10_000)
    with pytest.raises(keystore.KeystoreError, match="over 4096 bytes"):
        keystore.read_private_file(path)
