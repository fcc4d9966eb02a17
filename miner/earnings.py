"""Decides what a miner is shown of its earnings: each with the receipt and the block that paid it.

The figures are the chain's: the node tells of settlements that are final.
"""

from typing import Any, Final

import msgspec

from aitbc.client import AITBCClient
from aitbc.errors import InvalidAnswerError

COLUMNS: Final = ("settled_at", "units", "earned", "receipt_id", "transaction_id", "height")


class EarningsPage(msgspec.Struct, frozen=True):
    """Earnings from the newest on, and the totals of all that there are. Amounts in base units."""

    miner_id: str
    earnings: list[dict[str, Any]]
    earned_base: int
    """Of the earnings of this page."""
    total: int
    total_earned_base: int
    next_cursor: str | None


def read_earnings(
    client: AITBCClient, miner_id: str, *, limit: int | None, cursor: str | None = None
) -> EarningsPage:
    """Return up to `limit` earnings, all for None, beginning at `cursor`. Raises `AITBCError`."""
    rows: list[dict[str, Any]] = []
    while True:
        rest = 100 if limit is None else limit - len(rows)
        page = client.miners.list_earnings(miner_id, limit=min(100, rest), cursor=cursor)
        rows += [item.to_dict() for item in page.items]
        cursor = page.next_cursor
        if cursor is None or (limit is not None and len(rows) >= limit):
            break
    try:
        return EarningsPage(
            miner_id=miner_id,
            earnings=rows,
            earned_base=sum(int(row["earned_base"]) for row in rows),
            total=len(rows) if page.total is None else page.total,
            total_earned_base=int(page["total_earned_base"]),
            next_cursor=cursor,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidAnswerError(f"not a page of earnings: {error!r}") from None
