"""What a job may cost: the bound on its units, the escrow, the price per unit, the estimates."""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from coordinator.catalogue import LLM_INFERENCE
from ledger.types import MAX_AMOUNT, MAX_UNITS

PROMPT_MARGIN: Final = 64
"""Tokens that a chat template adds around a prompt."""
DEFAULT_MAX_TOKENS: Final = 256
_TOKENS_PER_SECOND: Final = 25
_BYTES_PER_TOKEN: Final = 4


class Cost(NamedTuple):
    """The bounds that the client agrees to, in units and base units."""

    max_units: int
    max_price: int
    escrow: int


def compute_max_units(service: str, content: Mapping[str, Any], timeout_seconds: int) -> int:
    """Return the most units that a job of this content can need."""
    params: Mapping[str, Any] = content["params"]
    if service == LLM_INFERENCE:
        return _compute_text_bytes(content["input"]) + PROMPT_MARGIN + int(params["max_tokens"])
    if service == "text_embedding":
        return _compute_text_bytes(content["input"]) + PROMPT_MARGIN
    if service in ("stable_diffusion", "blender_rendering"):
        asked = params.get("num_images", params.get("frames", 1))
        return max(1, min(asked, MAX_UNITS)) if type(asked) is int else 1
    return timeout_seconds


def _compute_text_bytes(value: Any) -> int:
    """Return a bound on the tokens of an input: no token is shorter than a byte."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def compute_cost(max_units: int, max_cost: int | None, list_price: int) -> Cost:
    """Return the escrow and the highest price. Raises `ValueError` with a sentence for the client.

    A given `max_cost` is the escrow, exactly; else the price list and the units make it.
    """
    if max_cost is None:
        escrow = max_units * list_price
        if escrow > MAX_AMOUNT:
            raise ValueError("the job's limits allow more than the largest amount of money")
        return Cost(max_units, list_price, escrow)
    max_price = max_cost // max_units
    if max_price == 0:
        raise ValueError(
            f"the job may need {max_units} units, so {max_units} base units are the least max_cost"
        )
    return Cost(max_units, max_price, max_cost)


def estimate_seconds(service: str, content: Mapping[str, Any], timeout_seconds: int) -> int:
    """Return how long a job of this kind takes as a rule, its waiting aside."""
    if service == LLM_INFERENCE:
        return min(timeout_seconds, 2 + int(content["params"]["max_tokens"]) // _TOKENS_PER_SECOND)
    return min(timeout_seconds, 600)


def estimate_units(service: str, content: Mapping[str, Any], result: Any, seconds: int) -> int:
    """Return the units of a result whose miner does not count them: a token per four bytes.

    A text is the prompt and the answer; everything billed by time is the time that it took.
    """
    if service in (LLM_INFERENCE, "text_embedding"):
        size = _compute_text_bytes(content["input"]) + _compute_text_bytes(result)
        return max(1, -(-size // _BYTES_PER_TOKEN))
    if service in ("stable_diffusion", "blender_rendering"):
        return 1
    return max(1, seconds)
