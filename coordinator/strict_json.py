"""Which JSON is taken from outside: strict (RFC 8259, I-JSON), and no more than can be looked at.

UTF-8, no repeated member, no NaN, no lone surrogate, at most `MAX_DEPTH` levels and
`MAX_CONTAINERS` arrays and objects.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
MAX_CONTAINERS: Final = 20_000
"""A megabyte of empty arrays takes the collector a tenth of a second, and says nothing."""
WRAPPING: Final = 16
"""The slack of what one coordinator wraps another's or a miner's JSON in."""
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)


def parse(data: bytes, slack: int = 0) -> Any:
    """Return the JSON value. Raises `ValueError` with a sentence that quotes nothing of it.

    `slack`: levels and containers that were put around what had been taken before.
    """
    _check_shape(data, slack)
    try:
        text = data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(_shorten(error)) from None
    return value


def _check_shape(data: bytes, slack: int) -> None:
    depth = containers = 0
    for token in _TOKENS.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            containers += 1
            if containers > MAX_CONTAINERS + slack:
                raise ValueError(f"over {MAX_CONTAINERS} arrays and objects")
            if depth > MAX_DEPTH + slack:
                raise ValueError(f"over {MAX_DEPTH} levels deep")
        elif first in b"]}":
            depth -= 1


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _shorten(error: Exception) -> str:
    # A parser's message may quote the input, which may be somebody's prompt.
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    text = str(error)
    return text if len(text) <= 60 else type(error).__name__
