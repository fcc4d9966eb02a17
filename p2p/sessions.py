"""Who is let in: authorities always, others while there is room, nobody twice, nobody banned.

Rule W4. Two processes with one key are two peers, so a process is known by its key and its
instance; of two sessions with one process both sides keep the same one.
"""

from collections.abc import Iterator

from msgspec import Struct

from p2p.backpressure import Pool
from p2p.hello import Hello, HelloRefused, Refusal
from p2p.interface import NetworkSettings
from p2p.limits import (
    AUTHORITY_LIMITS,
    AUTHORITY_POOL_BYTES,
    MAX_SESSIONS_PER_KEY,
    OBSERVER_LIMITS,
    OBSERVER_POOL_BYTES,
    PeerLimits,
)
from p2p.session import LiveSession

MAX_BANS = 4_096


class Place(Struct, eq=False):
    """A place among the sessions: taken with the greeting, filled once the session stands."""

    peer_id: str
    key: bytes
    instance: bytes
    is_inbound: bool
    live: LiveSession | None = None
    is_displaced: bool = False


class Sessions:
    """Every session of this node, and the rules of admission."""

    def __init__(self, own_peer_id: str, own_instance: bytes, settings: NetworkSettings) -> None:
        self.own_peer_id = own_peer_id
        self._own = (own_peer_id, own_instance)
        self._settings = settings
        self._places: list[Place] = []
        self._by_number: dict[int, LiveSession] = {}
        self._authorities: frozenset[bytes] = frozenset()
        self._bans: dict[bytes, tuple[str, float]] = {}
        """Peer id and end of the ban of each banned key."""
        self._pools = {True: Pool(AUTHORITY_POOL_BYTES), False: Pool(OBSERVER_POOL_BYTES)}
        self._limits = {True: AUTHORITY_LIMITS, False: OBSERVER_LIMITS}

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(tuple(self._by_number.values()))

    def get(self, number: int) -> LiveSession | None:
        """Return a session that stands."""
        return self._by_number.get(number)

    def is_authority(self, key: bytes) -> bool:
        """Tell whether a key is an authority's."""
        return key in self._authorities

    def has_peer(self, peer_id: str) -> bool:
        """Tell whether a session with some process of this peer id stands or is about to."""
        return any(place.peer_id == peer_id for place in self._places)

    def is_banned(self, peer_id: str, now: float) -> bool:
        """Tell whether a peer id belongs to a banned key."""
        return any(peer == peer_id and until > now for peer, until in self._bans.values())

    def admit(self, hello: Hello, peer_id: str, *, is_inbound: bool, now: float) -> Place:
        """Return a place for a peer. Raises `HelloRefused`."""
        if self._bans.get(hello.key, ("", 0.0))[1] > now:
            raise HelloRefused(Refusal.BANNED)
        place = Place(peer_id, hello.key, hello.instance, is_inbound)
        same = self._find_same(place)
        if same is not None and not self._is_preferred(place, same):
            raise HelloRefused(Refusal.DUPLICATE)
        others = [other for other in self._places if other is not same]
        of_key = sum(other.key == hello.key for other in others)
        if of_key >= MAX_SESSIONS_PER_KEY:
            raise HelloRefused(Refusal.FULL, f"{of_key} of this key")
        if hello.key not in self._authorities:
            self._check_observer(others)
        if same is not None:
            self.release(same)
            same.is_displaced = True
            if same.live is not None:
                same.live.end("displaced", "another session with the same process")
        self._places.append(place)
        return place

    def fill(self, place: Place, live: LiveSession) -> None:
        """Note that the session of a place stands."""
        place.live = live
        self._by_number[live.session.number] = live

    def release(self, place: Place) -> None:
        """Note that the session of a place is over, or never came to be."""
        if place in self._places:
            self._places.remove(place)
        if place.live is not None:
            self._by_number.pop(place.live.session.number, None)

    def find_limits(self, key: bytes) -> tuple[PeerLimits, Pool]:
        """Return what a peer with this key may do."""
        is_authority = key in self._authorities
        return self._limits[is_authority], self._pools[is_authority]

    def set_authorities(self, keys: frozenset[bytes]) -> frozenset[bytes]:
        """Apply other limits to keys that became authorities or ceased to be; return the former."""
        changed = keys ^ self._authorities
        self._authorities = keys
        for place in tuple(self._places):
            if place.key not in changed or place.live is None:
                continue
            if place.key not in keys and not self._settings.is_open:
                place.live.end("not_admitted", Refusal.NOT_ADMITTED.doc)
            else:
                place.live.set_limits(*self.find_limits(place.key))
        return changed & keys

    def ban(self, key: bytes, peer_id: str, until: float) -> None:
        """Refuse a key until then; the ban that ends first makes room."""
        if len(self._bans) >= MAX_BANS:
            del self._bans[min(self._bans, key=lambda each: self._bans[each][1])]
        self._bans[key] = (peer_id, until)

    def _find_same(self, place: Place) -> Place | None:
        for other in self._places:
            if (other.peer_id, other.instance) == (place.peer_id, place.instance):
                return other
        return None

    def _is_preferred(self, new: Place, old: Place) -> bool:
        """Tell which of two sessions with one process stays: both sides come to the same answer.

        Of two dialled from both sides the one that the smaller name dialled. Of two dialled from
        one side the new one: who dials again has lost the old one.
        """
        if new.is_inbound == old.is_inbound:
            return True
        is_peer_smaller = (new.peer_id, new.instance) < self._own
        return new.is_inbound == is_peer_smaller

    def _check_observer(self, others: list[Place]) -> None:
        if not self._settings.is_open:
            raise HelloRefused(Refusal.NOT_ADMITTED)
        observers = sum(other.key not in self._authorities for other in others)
        if observers >= self._settings.max_observers:
            raise HelloRefused(Refusal.FULL, f"{observers} observers")
