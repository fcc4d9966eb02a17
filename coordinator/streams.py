"""Texts that grow while their jobs run, in memory, for whoever reads along.

The result holds the whole text and is what is paid for; what stands here is lost with the process,
and with the attempt: another lease begins another text. Offsets and lengths are characters.
"""

from collections.abc import Callable
from typing import Final

from coordinator.signals import Signals, job_topic

MAX_TEXT: Final = 500_000
"""Characters of one job's text that are kept."""
MAX_TOTAL: Final = 32_000_000
"""Characters in all; of more, the texts that grew least lately are dropped."""
MAX_READERS: Final = 50
"""Streams that one account may read at a time."""


class StreamGap(Exception):
    """A piece does not follow what is here, which has `length` characters."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


class TextTooLong(Exception):
    """The text has more than `MAX_TEXT` characters."""


class GrowingText:
    """What one lease has made so far."""

    def __init__(self, number: int) -> None:
        self.number = number
        """Of the lease, which the miner counts."""
        self.text = ""


class Streams:
    """The texts by job, and how many read along. On the event loop."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._texts: dict[bytes, GrowingText] = {}
        self._total = 0
        self._readers: dict[int, int] = {}

    def get(self, job_id: bytes) -> GrowingText | None:
        """Return a job's text so far."""
        return self._texts.get(job_id)

    def get_length(self, job_id: bytes, number: int) -> int:
        """Return how much of a lease's text is here."""
        known = self._texts.get(job_id)
        return len(known.text) if known is not None and known.number == number else 0

    def append(self, job_id: bytes, number: int, offset: int, piece: str) -> int:
        """Add a piece that begins at `offset` and return the length.

        What overlaps the end is left out; a text of another lease is begun anew. Raises `StreamGap`
        and `TextTooLong`.
        """
        known = self._texts.pop(job_id, None)
        if known is None or known.number != number:
            self._total -= 0 if known is None else len(known.text)
            known = GrowingText(number)
        self._texts[job_id] = known
        length = len(known.text)
        if offset > length:
            raise StreamGap(length)
        added = piece[length - offset :]
        if length + len(added) > MAX_TEXT:
            raise TextTooLong
        known.text += added
        self._total += len(added)
        while self._total > MAX_TOTAL:
            self.drop(next(iter(self._texts)))
        if added:
            self._signals.announce(job_topic(job_id))
        return len(known.text)

    def drop(self, job_id: bytes) -> None:
        """Forget a text."""
        known = self._texts.pop(job_id, None)
        self._total -= 0 if known is None else len(known.text)

    def drop_ended(self, is_running: Callable[[bytes], bool]) -> None:
        """Forget the texts of jobs that run no more: they have their result, or none."""
        for job_id in [job_id for job_id in self._texts if not is_running(job_id)]:
            self.drop(job_id)

    def enter(self, account_id: int) -> bool:
        """Count a reader; False where the account has as many as it may."""
        count = self._readers.get(account_id, 0)
        if count >= MAX_READERS:
            return False
        self._readers[account_id] = count + 1
        return True

    def leave(self, account_id: int) -> None:
        """Count one reader less."""
        count = self._readers.pop(account_id) - 1
        if count:
            self._readers[account_id] = count
