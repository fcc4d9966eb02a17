"""How a command reads and writes money: decimal AIT for people, whole base units underneath."""

from aitbc.cli.failures import CommandError
from coordinator import wire
from ledger.types import UNITS_PER_AIT
from node.exit_codes import ExitCode


def parse_ait(text: str) -> int:
    """Return the base units of a decimal AIT amount with up to 9 places. Raises `CommandError`."""
    try:
        return wire.parse_ait(text)
    except ValueError as error:
        raise CommandError(
            f"{text!r}: {error}", ExitCode.USAGE, "give the amount as a decimal number of AIT"
        ) from None


def format_full_ait(base: int) -> str:
    """Return base units as AIT with all 9 places, to stand in a column."""
    whole, part = divmod(abs(base), UNITS_PER_AIT)
    return f"{'-' if base < 0 else ''}{whole:,}.{part:09d}"


def format_ait(base: int) -> str:
    """Return base units as decimal AIT, without trailing zeros; negative amounts keep the sign."""
    return f"-{wire.format_ait(-base)}" if base < 0 else wire.format_ait(base)
