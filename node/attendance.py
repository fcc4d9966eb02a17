"""When each authority was last heard to vote, so that an operator sees who does not."""

from typing import NamedTuple

from ledger.ballots import Ballot, VoteKind


class LastVote(NamedTuple):
    """The newest sign of an authority, at a monotonic time in milliseconds."""

    view: int
    kind: VoteKind
    heard_at: int


class Attendance:
    """One epoch's authorities, by their index."""

    def __init__(self) -> None:
        self._last: dict[int, LastVote] = {}

    def note(self, signer: int, ballot: Ballot, now: int) -> None:
        """Note a verified vote, or a signature in a certificate."""
        last = self._last.get(signer)
        if last is None or ballot.view >= last.view:
            self._last[signer] = LastVote(ballot.view, ballot.kind, now)

    def get(self, signer: int) -> LastVote | None:
        """Return the newest vote that was heard of an authority."""
        return self._last.get(signer)

    def clear(self) -> None:
        """Begin another epoch."""
        self._last.clear()
