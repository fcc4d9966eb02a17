"""How a miner's commands write money: decimal AIT for people, whole base units underneath."""

from ledger.types import UNITS_PER_AIT


def format_ait(base: int) -> str:
    """Return base units, at least 0, as decimal AIT without trailing zeros."""
    whole, part = divmod(base, UNITS_PER_AIT)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
