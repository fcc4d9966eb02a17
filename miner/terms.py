"""Decides whether a leased job is what was escrowed for, before any work is spent on it.

Opens what came sealed: the terms, and the content of a job that another coordinator holds.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import rfc8785
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from ledger.terms import (
    Terms,
    compute_content_hash,
    compute_model_hash,
    find_uncovered_terms,
    read_opening,
)

MAX_SEALED_CHARACTERS: Final = 8_192
MAX_BOXES: Final = 16
_TOKEN: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class TermsRefusedError(Exception):
    """The opened offer is not the one that the chain holds money for; nothing is to be run."""


class ContentUnreadableError(Exception):
    """What came as the job's content cannot be opened or read."""


def open_content(boxes: Sequence[str], key: PrivateKey) -> tuple[dict[str, Any], str]:
    """Return a sealed content and the token that its heartbeats carry.

    Raises `ContentUnreadableError`.
    """
    box = SealedBox(key)
    try:
        if len(boxes) > MAX_BOXES:
            raise ValueError("too many boxes")
        pieces = [box.decrypt(base64.b64decode(piece, validate=True)) for piece in boxes]
        members = json.loads(b"".join(pieces))
        content, token = members["content"], members["report_token"]
        if not isinstance(content, dict) or _TOKEN.fullmatch(token) is None:
            raise ValueError("not a content")
        return content, token
    except (CryptoError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ContentUnreadableError(f"the sealed content does not open: {error}") from None


def open_terms(sealed: str, key: PrivateKey) -> Terms:
    """Return the opening of a job's commitment. Raises `TermsRefusedError`."""
    try:
        if len(sealed) > MAX_SEALED_CHARACTERS:
            raise ValueError("too long")
        members = json.loads(SealedBox(key).decrypt(base64.b64decode(sealed, validate=True)))
        if not isinstance(members, dict):
            raise ValueError("not an object")
        return read_opening(members, Terms)
    except (CryptoError, ValueError, RecursionError) as error:
        raise TermsRefusedError(f"the sealed terms do not open: {error}") from None


def check_terms(
    terms: Terms,
    content: Mapping[str, Any],
    *,
    job: bytes,
    client: bytes,
    job_commit: bytes,
    escrow: int,
    price: int,
    now: int,
) -> None:
    """Check opened terms against what the chain holds and against the content to be run.

    `now` in header time (ms), `price` in base units per unit. Raises `TermsRefusedError`.
    """
    uncovered = find_uncovered_terms(terms, job_commit, escrow)
    if uncovered is not None:
        raise TermsRefusedError(uncovered)
    try:
        input_hash = compute_content_hash(content)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise TermsRefusedError(f"the content has no canonical form: {error}") from None
    model = content.get("model")
    checks = (
        (terms.job == job, "the terms are another job's"),
        (terms.client == client, "the terms are another client's"),
        (terms.input_hash == input_hash, "the content is not the one that the terms name"),
        (
            isinstance(model, str) and terms.model == compute_model_hash(model),
            "the model is not the one that the terms name",
        ),
        (price <= terms.max_price, "our price is over the highest that the terms allow"),
        (terms.max_units > 0, "the terms pay for no unit"),
        (terms.deadline > now, "the terms' deadline has passed"),
    )
    for holds, reason in checks:
        if not holds:
            raise TermsRefusedError(reason)
