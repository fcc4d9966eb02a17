"""Class `exact`: the same bytes come out again.

Of a result that is files each one's SHA-256, name and order; of any other the hash of its JSON. How
long the work took is no part of what it made.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ledger.terms import compute_content_hash
from miner.recheck.verdict import Standing, Verdict, refuse

MEASURE: Final = "SHA-256"
ABOUT_THE_RUN: Final = frozenset({"files", "model", "verification"})
"""Members of a result that are compared by themselves, or not."""


def compare_files(claimed: Any, found: Sequence[tuple[str, str]]) -> Verdict:
    """Return the verdict on result files; `found`: name and SHA-256 of each, in order."""
    if not isinstance(claimed, list) or len(claimed) != len(found):
        return refuse("the result has another number of files", MEASURE)
    for number, (file, (name, digest)) in enumerate(zip(claimed, found, strict=True)):
        theirs = file.get("sha256") if isinstance(file, Mapping) else None
        if theirs != digest:
            return Verdict(
                Standing.REFUSED,
                f"file {number} ({name}) has other bytes",
                MEASURE,
                theirs if isinstance(theirs, str) else None,
                digest,
            )
    last = found[-1][1] if found else None
    return Verdict(Standing.STANDS, "every file has the same bytes", MEASURE, last, last)


def compare_answers(claimed: Mapping[str, Any], found: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a result that is JSON alone."""
    theirs, ours = (
        compute_content_hash({name: of[name] for name in of if name not in ABOUT_THE_RUN}).hex()
        for of in (claimed, found)
    )
    if theirs != ours:
        return Verdict(Standing.REFUSED, "the result has other bytes", MEASURE, theirs, ours)
    return Verdict(Standing.STANDS, "the result has the same bytes", MEASURE, theirs, ours)
