"""How a command reads and writes money: decimal AIT for people, whole base units underneath."""

import re
from typing import Final

from aitbc.cli.failures import CommandError
from ledger.types import MAX_AMOUNT, UNITS_PER_AIT
from node.exit_codes import ExitCode

_AMOUNT: Final = re.compile(r"^(\d{1,10})(?:\.(\d{1,9}))?\Z", re.ASCII)


def parse_ait(text: str) -> int:
    """Return the base units of a decimal AIT amount with up to 9 places. Raises `CommandError`."""
    match = _AMOUNT.match(text)
    amount = 0
    if match is not None:
        amount = int(match[1]) * UNITS_PER_AIT + int((match[2] or "").ljust(9, "0"))
    if match is None or amount > MAX_AMOUNT:
        raise CommandError(
            f"{text!r} is no amount: AIT with up to 9 places, such as 1.5",
            ExitCode.USAGE,
            "give the amount as a decimal number of AIT",
        )
    return amount


def format_full_ait(base: int) -> str:
    """Return base units as AIT with all 9 places, to stand in a column."""
    whole, part = divmod(abs(base), UNITS_PER_AIT)
    return f"{'-' if base < 0 else ''}{whole:,}.{part:09d}"


def format_ait(base: int) -> str:
    """Return base units as decimal AIT, without trailing zeros; negative amounts keep the sign."""
    whole, part = divmod(abs(base), UNITS_PER_AIT)
    text = f"{whole}.{part:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if base < 0 else text
