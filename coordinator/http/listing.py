"""Pages of lists: the one shape, and the cursor that does not move when new rows come."""

from collections.abc import Sequence
from typing import Any

from coordinator.http.job_models import PageQuery


def build_page(
    name: str, items: Sequence[Any], total: int, query: PageQuery, last_row: int | None, rest: int
) -> Any:
    """Return a page: `rest` rows follow it, `last_row` is the row id of its last item.

    `?format=array` gives the bare array.
    """
    if query.format == "array":
        return list(items)
    has_more = rest > 0
    return {
        name: list(items),
        "total": total,
        "limit": query.limit,
        "offset": query.offset,
        "has_more": has_more,
        "next_cursor": str(last_row) if has_more and last_row is not None else None,
    }
