"""Decides whether a leased job is what was escrowed for, before any work is spent on it."""

import base64
import json
from collections.abc import Mapping
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


class TermsRefusedError(Exception):
    """The opened offer is not the one that the chain holds money for; nothing is to be run."""


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
