"""Decides where a miner's claims are looked for: each beside the one before it.

Claims are numbered in the order in which they are granted, so the grant of one lies in the segment
of the next one's or below it, and its end mostly nearby. A page of claims costs a search for the
first one and few seeks for each of the others, however long the chain is.
"""

from collections.abc import Mapping

import msgspec

from ledger.entries import AttemptOutcome
from ledger.outcomes import JobSettled, LeaseEnded, LeaseGranted
from node import block_rows
from node.history_index import Lookup
from node.sqlcipher import RawConnection
from node.tables import SLOT_BITS


class Claim(msgspec.Struct, frozen=True):
    """One numbered claim of a miner: where it began and the one way that it ended, if it has."""

    number: int
    job: bytes
    granted_height: int
    claimed_at: int
    ended_height: int | None = None
    outcome: AttemptOutcome | None = None
    reason_code: int = 0
    penalty: int = 0
    settlement: JobSettled | None = None


def read_claims(raw: RawConnection, miner: str, lookups: Mapping[int, Lookup]) -> list[Claim]:
    """Return the claims whose numbers these are, from the newest to the oldest.

    `lookups` of falling numbers without a gap, all of one moment. Ends with the first claim that
    was granted below the store's base: its beginning is not here, nor that of any before it.
    """
    claims: list[Claim] = []
    segment = next((lookup.segments for lookup in lookups.values()), 0)
    for number, lookup in lookups.items():
        finder = _Finder(raw, miner, number)
        top = segment
        while not finder.look(lookup, segment) and segment:
            segment -= 1
        if finder.granted is None:
            break
        # What has ended elsewhere ended later: an open lease is looked for up to the head.
        while finder.ended is None and top < lookup.segments:
            top += 1
            finder.look(lookup, top)
        claims.append(finder.build())
    return claims


class _Finder:
    """Looks for the outcomes that granted and ended one claim."""

    def __init__(self, raw: RawConnection, miner: str, number: int) -> None:
        self._raw = raw
        self._miner = miner
        self._number = number
        self.granted: tuple[int, LeaseGranted] | None = None
        """Height and event."""
        self.ended: tuple[int, LeaseEnded] | None = None
        self._settlement: JobSettled | None = None

    def look(self, lookup: Lookup, segment: int) -> bool:
        """Take what a segment has of the claim; return whether its grant is known now."""
        for position in lookup.find_in(self._raw, segment):
            for event in block_rows.read_outcome(self._raw, position).events:
                if not isinstance(event, LeaseGranted | LeaseEnded | JobSettled):
                    continue
                if (event.miner, event.number) != (self._miner, self._number):
                    continue
                match event:
                    case LeaseGranted():
                        self.granted = position >> SLOT_BITS, event
                    case LeaseEnded():
                        self.ended = position >> SLOT_BITS, event
                    case JobSettled():
                        self._settlement = event
        return self.granted is not None

    def build(self) -> Claim:
        """Return what was found."""
        assert self.granted is not None
        height, granted = self.granted
        claim = Claim(self._number, granted.job, height, granted.claimed_at)
        if self.ended is None:
            return claim
        height, ended = self.ended
        return msgspec.structs.replace(
            claim,
            ended_height=height,
            outcome=ended.outcome,
            reason_code=ended.reason_code,
            penalty=ended.penalty,
            settlement=self._settlement,
        )
