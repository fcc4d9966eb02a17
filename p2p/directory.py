"""Where authorities can be reached: what they say themselves, and what their peers pass on.

Rule W2. A record is believed only as far as the node's key vouched for the peer id in it, so nobody
can invent peers; at worst a node dials an address where Noise finds somebody else.
"""

from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from ledger.rejection import Rejected
from ledger.types import PublicKey, Record, Signature
from p2p.addresses import MAX_ADDRESS_BYTES, parse_address
from p2p.binding import is_valid_binding

MAX_ADDRESSES: Final = 8
MAX_RECORDS: Final = 256
MAX_RECORD_BYTES: Final = 2_048

AddressText = Annotated[str, Meta(max_length=MAX_ADDRESS_BYTES)]
Addresses = Annotated[tuple[AddressText, ...], Meta(max_length=MAX_ADDRESSES)]


class PeerRecord(Record, frozen=True):
    """A node's key, the peer id that it vouches for, and where it listens."""

    key: PublicKey
    peer_id: Annotated[str, Meta(max_length=64)]
    binding: Signature
    addresses: Addresses


class Directory:
    """The latest record of each key, the ones that were passed on included."""

    def __init__(self, chain_id: bytes, is_authority: Callable[[bytes], bool]) -> None:
        self._chain_id = chain_id
        self._is_authority = is_authority
        self._records: dict[bytes, PeerRecord] = {}

    def note(self, record: PeerRecord) -> bool:
        """Keep a record, and tell whether it says anything new and is its key's."""
        known = self._records.get(record.key)
        if known == record:
            return False
        if known is None or (known.peer_id, known.binding) != (record.peer_id, record.binding):
            if not is_valid_binding(record.key, self._chain_id, record.peer_id, record.binding):
                return False
        self._records.pop(record.key, None)
        if len(self._records) >= MAX_RECORDS and not self._make_room():
            return False
        self._records[record.key] = record
        return True

    def _make_room(self) -> bool:
        """Forget the oldest record of a key that is no authority's; tell whether there was one."""
        for key in self._records:
            if not self._is_authority(key):
                del self._records[key]
                return True
        return False

    def find(self, key: bytes) -> PeerRecord | None:
        """Return what is known of a key."""
        return self._records.get(key)


def keep_dialable(addresses: tuple[str, ...], peer_id: str) -> tuple[str, ...]:
    """Return the addresses that can be dialled and name this peer."""
    found = []
    for text in addresses:
        try:
            address = parse_address(text)
        except Rejected:
            continue
        if address.peer_id == peer_id:
            found.append(text)
    return tuple(found)
