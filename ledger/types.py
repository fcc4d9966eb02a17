"""The scalar types of the ledger: what an amount, a time, a key, a hash and an address may be.

Every bound lives in the type, so a decoded value is already inside its limits (rule E3).
"""

from typing import Annotated

from msgspec import Meta, Struct

UNITS_PER_AIT = 10**9
"""Base units in one AIT."""

MAX_AMOUNT = 2**63 - 1
"""The largest amount of money, in base units (rule L1)."""

MAX_TIME = 2**48 - 1
"""The latest time, in milliseconds since the Unix epoch; the proof's range check is as wide."""

MAX_UNITS = 2**40 - 1
"""The most units one job may bill; the proof's range check is as wide."""

Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
Units = Annotated[int, Meta(ge=0, le=MAX_UNITS)]
Time = Annotated[int, Meta(ge=0, le=MAX_TIME)]
Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Address = Annotated[bytes, Meta(min_length=20, max_length=20)]
Proof = Annotated[bytes, Meta(min_length=192, max_length=192)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*\Z")]
"""A service's or a miner's name: lower-case ASCII, so no two differ in case or script alone."""


def add_capped(total: int, amount: int) -> int:
    """Return a running statistic that stays at `MAX_AMOUNT` instead of leaving its type (rule L1).

    Money itself never comes near: the supply is below the bound. A sum over all payouts can.
    """
    return min(total + amount, MAX_AMOUNT)


class Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Anything with a canonical encoding: a MessagePack array of its fields, in order.

    The garbage collector need not follow it: frozen, it can be no part of a cycle.
    """
