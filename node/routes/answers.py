"""What the chain's routes share: cacheable final answers, lists in two shapes, ids in paths."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from coordinator import wire
from coordinator.http.problems import Problem, not_found
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from node.routes.models import Page, PageQuery

M = TypeVar("M", bound=BaseModel)

IMMUTABLE: Final = "public, max-age=31536000, immutable"
TAG: Final = "Explorer"
_HEIGHT: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)

Fetch = Callable[[int | None, int], Awaitable[Sequence[M]]]
"""Returns up to so many items below a cursor, newest first; each has a member `cursor`."""


def answer_final(payload: Any, tag: str) -> Answer:
    """Return what can never change, under its tag."""
    return Answer(payload, headers={"ETag": f'"{tag}"', "Cache-Control": IMMUTABLE})


def parse_height(text: str) -> int | None:
    """Return a height, or None where the text is none."""
    return int(text) if _HEIGHT.fullmatch(text) else None


def parse_hash(text: str, *prefixes: str) -> bytes | None:
    """Return the 32 bytes of bare hex, or of hex behind one of the prefixes; else None."""
    return wire.parse_id(text, *prefixes, "")


def require_hash(text: str, what: str, *prefixes: str) -> bytes:
    """Return the 32 bytes that a path names. Raises `Problem(404)`."""
    found = parse_hash(text, *prefixes)
    if found is None:
        raise not_found(what)
    return found


def build_list_routes(
    path: str, fetch: Fetch[M], item: type[M], array: type[BaseModel], summary: str
) -> tuple[Route, Route]:
    """Return the routes of a list: a bare array at `path`, and a page with a cursor at `/v1`."""

    async def show_array(call: Call) -> Answer:
        query = call.get_query(PageQuery)
        return Answer(list(await fetch(query.start, query.limit)))

    async def show_page(call: Call) -> Answer:
        query = call.get_query(PageQuery)
        items = list(await fetch(query.start, query.limit + 1))
        has_more = len(items) > query.limit
        items = items[: query.limit]
        return Answer({"items": items, "next_cursor": get_cursor(items) if has_more else None})

    page: type[BaseModel] = Page[item]  # type: ignore[valid-type]
    return (
        Route(
            "GET", path, show_array, summary, TAG,
            roles=PUBLIC, query=PageQuery, answers={200: array},
        ),
        Route(
            "GET", f"/v1{path}", show_page, f"{summary}, by page", TAG,
            roles=PUBLIC, query=PageQuery, answers={200: page},
        ),
    )  # fmt: skip


def get_cursor(items: Sequence[BaseModel]) -> str | None:
    """Return what continues a list after its last item."""
    return getattr(items[-1], "cursor", None) if items else None


def build_item_routes(
    path: str,
    show: Callable[[Call], Awaitable[Answer | web.StreamResponse]],
    answer: type[BaseModel],
    summary: str,
    query: type[BaseModel] | None = None,
) -> tuple[Route, Route]:
    """Return the routes of one thing: the same at `path` and under `/v1`."""
    first, second = (
        Route(
            "GET", prefix + path, show, summary, TAG,
            roles=PUBLIC, query=query, answers={200: answer},
        )
        for prefix in ("", "/v1")
    )  # fmt: skip
    return first, second


def refuse_height(height: int, head: int) -> Problem:
    """Return the answer for a height whose state this node cannot show."""
    if height > head:
        return Problem(
            404, f"the chain is at height {head}", "BLOCK_NOT_FOUND", members={"head": head}
        )
    return Problem(
        409,
        f"the totals of height {height} are not kept; the head's, at height {head}, are",
        "STATE_NOT_KEPT",
        members={"head": head},
    )


def refuse_below(base: int) -> Problem:
    """Return the answer for a block from before this node's chain, which began with a snapshot."""
    return Problem(
        410,
        f"this node's chain begins with block {base}: other nodes have those before it",
        "BLOCK_NOT_KEPT",
        members={"base": base},
    )
