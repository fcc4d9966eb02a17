"""Decides how builders write their calls: paths, bodies, keys, and what reads the answers."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote as quote_text

from aitbc.errors import InvalidAnswerError
from aitbc.models import Model, Page, read_page
from aitbc.steps import Call, Query

M = TypeVar("M", bound=Model)

JSON = Mapping[str, Any]


def get(path: str, kind: type[M], query: Query | None = None) -> Call[M]:
    """Return a call that reads one thing."""
    return Call("GET", path, kind.model_validate, query=query or {}, is_repeatable=True)


def get_value(path: str, query: Query | None = None) -> Call[Any]:
    """Return a call whose answer is given as it is: plain JSON values."""
    return Call("GET", path, as_is, query=query or {}, is_repeatable=True)


def get_page(path: str, query: Query, member: str, kind: type[M]) -> Call[Page[M]]:
    """Return a call that reads a page whose items are under `member`."""
    return Call(
        "GET", path, lambda value: read_page(value, member, kind), query=query, is_repeatable=True
    )


def get_array(path: str, query: Query, kind: type[M]) -> Call[list[M]]:
    """Return a call that reads a bare array."""
    return Call("GET", path, read_array(kind), query=query, is_repeatable=True)


def post(
    path: str,
    body: object,
    kind: type[M],
    idempotency_key: str | None = None,
    *,
    is_repeatable: bool = False,
) -> Call[M]:
    """Return a call that sends a body; with a key it may be sent again after a lost answer."""
    return Call(
        "POST",
        path,
        kind.model_validate,
        body=body,
        idempotency_key=idempotency_key,
        is_repeatable=is_repeatable or idempotency_key is not None,
    )


def read_array(kind: type[M]) -> Callable[[Any], list[M]]:
    """Return what reads a bare array of a kind."""

    def parse(value: Any) -> list[M]:
        if not isinstance(value, list):
            raise InvalidAnswerError("a list was expected")
        return [kind.model_validate(item) for item in value]

    return parse


def as_is(value: Any) -> Any:
    """Return an answer as it came."""
    return value


def as_none(value: Any) -> None:
    """Read an answer that says nothing."""


def quote(part: str) -> str:
    """Return a text as one segment of a path, whatever is in it."""
    return quote_text(part, safe="")


def drop_nulls(body: JSON) -> dict[str, Any]:
    """Return the members that are set."""
    return {key: value for key, value in body.items() if value is not None}


def choose_key(given: str | None) -> str:
    """Return the caller's idempotency key, or a new one."""
    return given if given is not None else secrets.token_hex(16)
