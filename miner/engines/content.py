"""Decides how a job's content is read: strictly, each member known, or refused with a reason.

A parameter that would change the answer and is not known is refused, never left out in silence.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
import rfc8785
from msgspec import Meta

from miner.engines.interface import InputInvalidError

I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741 - an input
P = TypeVar("P", bound=msgspec.Struct)

IGNORED_PARAMETERS: Final = frozenset({"stream", "stream_options", "user"})
IGNORED_INPUT: Final = frozenset({"type", "format"})
"""Labels that some clients put beside their data; the data says the same."""
MAX_SOURCE_CHARACTERS: Final = 2_048
FILE_ID: Final = re.compile(r"file_[A-Za-z0-9_-]{1,128}", re.ASCII)

Seed = Annotated[int, Meta(ge=0, lt=2**31)]


def read_content(
    content: Mapping[str, Any],
    input_type: type[I],
    params_type: type[P],
    ignored: frozenset[str] = IGNORED_PARAMETERS,
) -> tuple[I, P]:
    """Return what a job's content holds; parameters that are null are as if they were not there.

    Raises `InputInvalidError`.
    """
    given, held = content.get("params") or {}, content.get("input")
    try:
        if not isinstance(given, Mapping):
            raise ValueError("params is not an object")
        if not isinstance(held, Mapping):
            raise ValueError("input is not an object")
        wanted = {
            key: value for key, value in given.items() if key not in ignored and value is not None
        }
        plain = {
            key: value
            for key, value in held.items()
            if key not in IGNORED_INPUT and value is not None
        }
        return msgspec.convert(plain, input_type), msgspec.convert(wanted, params_type)
    except (ValueError, msgspec.ValidationError) as error:
        raise InputInvalidError(str(error)) from None


def check_source(text: str) -> str:
    """Return the address or file id that a member holds. Raises `InputInvalidError`."""
    is_address = text.startswith(("https://", "http://")) and len(text) <= MAX_SOURCE_CHARACTERS
    if not is_address and FILE_ID.fullmatch(text) is None:
        raise InputInvalidError("a source is an http(s) address or the id of a file")
    return text


def derive_seed(content: Mapping[str, Any]) -> int:
    """Return a seed that follows from the content, so that anybody can run the job again.

    Raises `InputInvalidError` for a content without a canonical form.
    """
    try:
        digest = hashlib.sha256(rfc8785.dumps(dict(content))).digest()
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise InputInvalidError(str(error)) from None
    return int.from_bytes(digest[:4], "big") >> 1
