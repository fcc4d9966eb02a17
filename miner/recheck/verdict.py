"""What a re-check comes to: the result stands, is refused, or nothing can be said.

A result is refused only where a run under the very pins of its receipt shows it to be another. A
machine that lacks the pinned build may still find that a result stands; that it does not is then no
verdict.
"""

from enum import StrEnum
from typing import Any

import msgspec


class Standing(StrEnum):
    """The three ends of a re-check."""

    STANDS = "stands"
    REFUSED = "refused"
    UNKNOWN = "cannot say"


class CannotSayError(Exception):
    """The re-check cannot be made here; the message names what is missing."""


class Verdict(msgspec.Struct, frozen=True):
    """The standing of a result, and what it rests on."""

    standing: Standing
    reason: str
    """A sentence."""
    measure: str = ""
    """What was measured; empty where nothing was."""
    value: float | str | None = None
    threshold: float | str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it as commands print it."""
        record: dict[str, Any] = {"verdict": self.standing.value}
        if self.measure:
            record |= {"measure": self.measure, "value": self.value, "threshold": self.threshold}
        return {**record, "reason": self.reason}

    def weaken(self, reason: str) -> "Verdict":
        """Return the verdict of a run that was not under the receipt's pins."""
        if self.standing is not Standing.REFUSED:
            return self
        return msgspec.structs.replace(
            self, standing=Standing.UNKNOWN, reason=f"{reason} ({self.reason})"
        )


def judge(
    measure: str, value: float, threshold: float, *, is_enough: bool, where: str = ""
) -> Verdict:
    """Return the verdict of one number."""
    standing = Standing.STANDS if is_enough else Standing.REFUSED
    reason = f"{measure} {'keeps to' if is_enough else 'is beyond'} the threshold"
    return Verdict(standing, f"{reason}{where}", measure, round(value, 6), threshold)


def refuse(reason: str, measure: str = "") -> Verdict:
    """Return the verdict of a result of another shape than the run's."""
    return Verdict(Standing.REFUSED, reason, measure)
