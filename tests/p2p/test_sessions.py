"""Who is let in, and which of two sessions with one process stays."""

import pytest

from p2p.hello import Hello, HelloRefused, Refusal
from p2p.interface import NetworkSettings
from p2p.limits import LANES, MAX_SESSIONS_PER_KEY
from p2p.sessions import MAX_BANS, Place, Sessions
from tests.p2p.networks import CHAIN

OWN = ("peer-m", b"m" * 16)


def make_hello(key: int, instance: int = 0) -> Hello:
    return Hello(CHAIN, bytes([key]) * 32, bytes(64), bytes([instance]) * 16, "", ())


def make_sessions(*authorities: int, is_open: bool = True, max_observers: int = 2) -> Sessions:
    settings = NetworkSettings("127.0.0.1", 0, is_open=is_open, max_observers=max_observers)
    sessions = Sessions(*OWN, settings)
    sessions.set_authorities(frozenset(bytes([key]) * 32 for key in authorities))
    return sessions


def admit(
    sessions: Sessions,
    key: int,
    instance: int = 0,
    *,
    peer_id: str | None = None,
    is_inbound: bool = True,
    now: float = 0.0,
) -> Place | Refusal:
    hello = make_hello(key, instance)
    try:
        return sessions.admit(hello, peer_id or f"peer-{key}", is_inbound=is_inbound, now=now)
    except HelloRefused as error:
        return error.refusal


def test_authorities_come_in_beyond_the_number_of_observers() -> None:
    sessions = make_sessions(1)
    assert isinstance(admit(sessions, 2), Place)
    third = admit(sessions, 3)
    assert isinstance(third, Place)
    assert admit(sessions, 4) is Refusal.FULL
    assert isinstance(admit(sessions, 1), Place)
    sessions.release(third)
    assert isinstance(admit(sessions, 4), Place)


def test_a_closed_node_takes_authorities_only() -> None:
    sessions = make_sessions(1, is_open=False)
    assert admit(sessions, 2) is Refusal.NOT_ADMITTED
    assert isinstance(admit(sessions, 1), Place)


def test_a_key_has_so_many_sessions_and_no_more() -> None:
    sessions = make_sessions(1)
    for instance in range(MAX_SESSIONS_PER_KEY):
        assert isinstance(admit(sessions, 1, instance), Place)
    assert admit(sessions, 1, 99) is Refusal.FULL
    assert isinstance(admit(sessions, 1, 0), Place)


@pytest.mark.parametrize(
    ("peer_id", "kept_inbound"), [("peer-a", True), ("peer-z", False)], ids=["smaller", "larger"]
)
@pytest.mark.parametrize("first_inbound", [True, False])
def test_of_two_crossing_sessions_the_one_that_the_smaller_dialled_stays(
    peer_id: str, kept_inbound: bool, first_inbound: bool
) -> None:
    sessions = make_sessions(1)
    first = admit(sessions, 1, peer_id=peer_id, is_inbound=first_inbound)
    second = admit(sessions, 1, peer_id=peer_id, is_inbound=not first_inbound)
    assert isinstance(first, Place)
    if first_inbound == kept_inbound:
        assert second is Refusal.DUPLICATE and not first.is_displaced
    else:
        assert isinstance(second, Place) and first.is_displaced
    assert sessions.has_peer(peer_id)


def test_copies_of_this_node_agree_by_their_instances() -> None:
    sessions = make_sessions()
    assert isinstance(admit(sessions, 1, ord("a"), peer_id=OWN[0], is_inbound=False), Place)
    assert isinstance(admit(sessions, 1, ord("a"), peer_id=OWN[0], is_inbound=True), Place)
    assert isinstance(admit(sessions, 1, ord("z"), peer_id=OWN[0], is_inbound=False), Place)
    assert admit(sessions, 1, ord("z"), peer_id=OWN[0], is_inbound=True) is Refusal.DUPLICATE


def test_who_dials_again_has_lost_the_old_session() -> None:
    sessions = make_sessions()
    first, second = admit(sessions, 1), admit(sessions, 1)
    assert isinstance(first, Place) and isinstance(second, Place)
    assert first.is_displaced and not second.is_displaced
    sessions.release(first)
    assert sessions.has_peer("peer-1")
    sessions.release(second)
    assert not sessions.has_peer("peer-1")


def test_a_ban_holds_for_its_time_and_for_its_key() -> None:
    sessions = make_sessions(1)
    sessions.ban(bytes([1]) * 32, "peer-1", 10.0)
    assert admit(sessions, 1, now=9.9) is Refusal.BANNED
    assert sessions.is_banned("peer-1", 9.9) and not sessions.is_banned("peer-1", 10.1)
    assert isinstance(admit(sessions, 2, now=9.9), Place)
    assert isinstance(admit(sessions, 1, now=10.1), Place)


def test_bans_without_end_are_not_kept() -> None:
    sessions = make_sessions()
    for number in range(MAX_BANS + 10):
        sessions.ban(number.to_bytes(32), str(number), 1.0 + number)
    assert not sessions.is_banned("5", 0.0) and sessions.is_banned(str(MAX_BANS), 0.0)


def test_limits_follow_from_the_key() -> None:
    sessions = make_sessions(1)
    authority, _ = sessions.find_limits(bytes([1]) * 32)
    observer, _ = sessions.find_limits(bytes([2]) * 32)
    assert all(authority.rates[lane].bytes > observer.rates[lane].bytes for lane in LANES)
    assert sessions.set_authorities(frozenset({bytes([2]) * 32})) == {bytes([2]) * 32}
    assert sessions.find_limits(bytes([2]) * 32)[0] is authority
    assert sessions.find_limits(bytes([1]) * 32)[0] is observer
