"""How money, times and identifiers are written on the API, and which spellings are refused.

Money is a decimal string of AIT with up to nine places; one number has one spelling, so `1e3`,
`+1`, `01`, `1_000` and digits of other scripts are refused. Times are RFC 3339 in UTC.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

from ledger.types import MAX_AMOUNT, MAX_TIME, UNITS_PER_AIT

JOB_PREFIX: Final = "job_"
RECEIPT_PREFIX: Final = "receipt_"
TRANSACTION_PREFIX: Final = "tx_"
FILE_PREFIX: Final = "file_"
WEBHOOK_PREFIX: Final = "webhook_"
DELIVERY_PREFIX: Final = "delivery_"
OFFER_PREFIX: Final = "offer_"

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,9}))?", re.ASCII)
_BASE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_DAY_MS: Final = 86_400_000
_LAST_WRITABLE: Final = 253_402_300_799_999
"""RFC 3339 has four digits for the year; no time of a working chain lies behind this one."""
MAX_AMOUNT_LENGTH: Final = 20


def parse_ait(text: str) -> int:
    """Return the base units of a decimal string of AIT. Raises `ValueError`."""
    match = _AMOUNT.fullmatch(text) if len(text) <= MAX_AMOUNT_LENGTH else None
    if match is None:
        raise ValueError("an amount is a decimal string of AIT with up to 9 places, such as 0.10")
    whole, places = match.groups()
    amount = int(whole) * UNITS_PER_AIT + int((places or "").ljust(9, "0"))
    if amount > MAX_AMOUNT:
        raise ValueError("the amount is over the largest one, 9223372036.854775807 AIT")
    return amount


def parse_base_units(text: str) -> int:
    """Return the base units that an exact integer string names. Raises `ValueError`."""
    if len(text) > MAX_AMOUNT_LENGTH or _BASE.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError("an amount in base units is an integer string from 0 to 2^63 - 1")
    return int(text)


def format_ait(amount: int) -> str:
    """Return base units as a decimal string of AIT without trailing zeros."""
    whole, rest = divmod(amount, UNITS_PER_AIT)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def to_number(amount: int) -> float:
    """Return base units as AIT in a JSON number, for the fields that have always been numbers."""
    return amount / UNITS_PER_AIT


def format_time(time_ms: int) -> str:
    """Return milliseconds since the epoch as RFC 3339 in UTC; whole seconds without a fraction."""
    seconds, rest = divmod(min(time_ms, _LAST_WRITABLE), 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def format_optional_time(time_ms: int | None) -> str | None:
    """Return a time, or None for one that has not come."""
    return None if time_ms is None else format_time(time_ms)


def parse_time(text: str, is_end: bool = False) -> int:
    """Return the milliseconds of an RFC 3339 date-time or date. Raises `ValueError`.

    A date is its first instant; with `is_end`, its last millisecond.
    """
    if len(text) == 10 and _DATE.fullmatch(text):
        day = date.fromisoformat(text)
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
        return _check_time(start + _DAY_MS - 1 if is_end else start)
    if len(text) > 40 or _DATE_TIME.fullmatch(text) is None:
        raise ValueError("a time is an RFC 3339 date-time or date, such as 2026-01-31T12:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    return _check_time(round(moment.timestamp() * 1000))


def _check_time(time_ms: int) -> int:
    if not 0 <= time_ms <= MAX_TIME:
        raise ValueError("the time lies before 1970 or too far ahead")
    return time_ms


def format_job_id(job: bytes) -> str:
    """Return a job's id as the API writes it."""
    return JOB_PREFIX + job.hex()


def format_receipt_id(job: bytes) -> str:
    """Return the id of a job's receipt."""
    return RECEIPT_PREFIX + job.hex()


def format_offer_id(offer: bytes) -> str:
    """Return an offer's id as the API writes it."""
    return OFFER_PREFIX + offer.hex()


def format_transaction_id(transaction: bytes) -> str:
    """Return a transaction's id as the API writes it."""
    return TRANSACTION_PREFIX + transaction.hex()


def parse_id(text: str, *prefixes: str) -> bytes | None:
    """Return the 32 bytes behind one of the prefixes, or None when it is no such id."""
    for prefix in prefixes:
        rest = text.removeprefix(prefix)
        if text.startswith(prefix) and _HASH.fullmatch(rest):
            return bytes.fromhex(rest)
    return None
