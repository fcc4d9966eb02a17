"""What is believed of where a node listens."""

from collections.abc import Iterator

import pytest

from ledger.crypto import compute_public_key
from p2p.binding import compute_peer_id
from p2p.directory import MAX_RECORDS, Directory, PeerRecord, keep_dialable
from tests.p2p.networks import CHAIN, identify


def make_record(number: int, *addresses: str) -> PeerRecord:
    identity = identify(number)
    peer_id = compute_peer_id(compute_public_key(identity.transport_seed))
    return PeerRecord(identity.key, peer_id, identity.binding, addresses)


AUTHORITY = make_record(1)


@pytest.fixture
def directory() -> Iterator[Directory]:
    yield Directory(CHAIN, lambda key: key == AUTHORITY.key)


def test_a_record_is_news_once(directory: Directory) -> None:
    assert directory.note(AUTHORITY)
    assert not directory.note(AUTHORITY)
    moved = make_record(1, "/ip4/10.0.0.1/tcp/1")
    assert directory.note(moved)
    assert directory.find(AUTHORITY.key) == moved
    assert directory.find(bytes(32)) is None


def test_nobody_can_invent_a_peer_for_a_key(directory: Directory) -> None:
    other = make_record(2)
    forged = PeerRecord(AUTHORITY.key, other.peer_id, other.binding, ())
    assert not directory.note(forged)
    assert directory.note(AUTHORITY)
    assert not directory.note(forged)
    assert directory.find(AUTHORITY.key) == AUTHORITY


def test_records_of_others_push_out_no_authority(directory: Directory) -> None:
    assert directory.note(AUTHORITY)
    for number in range(2, 256):
        assert directory.note(make_record(number))
    assert directory.note(make_record(0))
    assert directory.find(AUTHORITY.key) == AUTHORITY
    everybody = Directory(CHAIN, lambda key: True)
    assert sum(everybody.note(make_record(number)) for number in range(256)) == MAX_RECORDS


def test_only_what_names_the_peer_can_be_dialled() -> None:
    good = f"/ip4/10.0.0.1/tcp/1/p2p/{AUTHORITY.peer_id}"
    another = f"/ip4/10.0.0.1/tcp/1/p2p/{make_record(2).peer_id}"
    assert keep_dialable((good, another, "nowhere"), AUTHORITY.peer_id) == (good,)
