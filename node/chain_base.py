"""Where a store's blocks begin, and how its authority sets follow from those of genesis (rule C19).

A store that began with a snapshot holds no block below the snapshot's. What proves its first block
final is kept beside the blocks: for each epoch the closing block's header and proof, and the set
that it put in force.
"""

from collections.abc import Iterable
from typing import Final

from consensus.light_client import Succession, follow
from consensus.messages import decode_finality
from consensus.verification import Committee
from ledger import codec
from ledger.blocks import AuthoritySet, Header, decode_header
from node.sqlcipher import RawConnection

BASE_MARK: Final = "base_height"
MAX_SET_BYTES: Final = 16_384
"""An encoded set of a hundred members fits."""


class Committees:
    """The authority sets of a chain so far, by epoch, each proved by the one before."""

    def __init__(self, chain_id: bytes, first: AuthoritySet) -> None:
        """Begin with the set of genesis."""
        self._known = {first.epoch: Committee(chain_id, first)}
        self.newest = self._known[first.epoch]

    def follow(self, succession: Succession) -> None:
        """Take in the next set. Raises `Rejected` where its epoch's last block is not final."""
        self.newest = follow(self.newest, (succession,))
        self._known[self.newest.epoch] = self.newest

    def find(self, epoch: int) -> Committee | None:
        """Return the set of an epoch, if it is known yet."""
        return self._known.get(epoch)


def is_closing(header: Header) -> bool:
    """Tell whether a block is the last of its epoch (rule C17)."""
    return header.next_authorities != header.authorities


def read_base_height(raw: RawConnection) -> int:
    """Return the height of the first block that the store holds: 0 unless it began later."""
    row = raw.execute("select number from marks where name = ?", (BASE_MARK,)).fetchone()
    return int(row[0]) if row else 0


def write_base_height(raw: RawConnection, height: int) -> None:
    """Say that the store's blocks begin at a height."""
    raw.execute("insert or replace into marks (name, number) values (?, ?)", (BASE_MARK, height))


def write_successions(raw: RawConnection, successions: Iterable[Succession]) -> None:
    """Keep how sets came into force, inside the caller's transaction."""
    raw.executemany(
        "insert into successions (epoch, header, certificate, following) values (?, ?, ?, ?)",
        [
            (
                each.following.epoch,
                codec.encode(each.header),
                codec.encode(each.finality),
                codec.encode(each.following),
            )
            for each in successions
        ],
    )


def read_successions(raw: RawConnection) -> list[Succession]:
    """Return every succession since genesis, the oldest first. Raises `Rejected` for damage."""
    return [
        Succession(
            decode_header(header),
            decode_finality(certificate),
            codec.decode(following, AuthoritySet, MAX_SET_BYTES),
        )
        for header, certificate, following in raw.execute(
            "select header, certificate, following from successions order by epoch"
        )
    ]


def drop_successions(raw: RawConnection, epoch: int) -> None:
    """Forget the sets after that of an epoch."""
    raw.execute("delete from successions where epoch > ?", (epoch,))
