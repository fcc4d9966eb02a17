from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import pricing
from ledger.types import MAX_AMOUNT, MAX_UNITS


@given(st.integers(1, MAX_UNITS), st.integers(0, MAX_AMOUNT), st.integers(1, 10**12))
def test_a_given_cost_is_the_escrow_and_covers_every_unit(
    units: int, max_cost: int, price: int
) -> None:
    if max_cost < units:
        with pytest.raises(ValueError, match="max_cost"):
            pricing.compute_cost(units, max_cost, price)
        return
    cost = pricing.compute_cost(units, max_cost, price)
    assert cost.escrow == max_cost
    assert cost.max_units * cost.max_price <= cost.escrow < cost.max_units * (cost.max_price + 1)


def test_without_a_cost_the_price_list_makes_the_escrow() -> None:
    assert pricing.compute_cost(100, None, 7) == (100, 7, 700)
    with pytest.raises(ValueError, match="largest"):
        pricing.compute_cost(MAX_UNITS, None, MAX_AMOUNT)


def build_content(service: str, **params: int) -> dict[str, Any]:
    return {"service": service, "input": {"prompt": "x" * 40}, "params": params}


@given(st.text(max_size=200), st.integers(1, 1_000))
def test_no_text_has_more_tokens_than_its_bound(prompt: str, max_tokens: int) -> None:
    content = build_content("llm_inference", max_tokens=max_tokens)
    content["input"]["prompt"] = prompt
    units = pricing.compute_max_units(content, 60)
    assert units >= len(prompt.encode()) + max_tokens


def test_units_that_nobody_counted() -> None:
    assert pricing.estimate_units(build_content("llm_inference"), "y" * 38, 5) == 24
    assert pricing.estimate_units(build_content("custom_code"), "y", 5) == 5
    assert pricing.estimate_units(build_content("stable_diffusion"), "y", 5) == 1
    two: dict[str, Any] = {"images": [{}, {}]}
    assert pricing.estimate_units(build_content("stable_diffusion"), two, 5) == 2
