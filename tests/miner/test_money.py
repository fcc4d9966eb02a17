"""Amounts for people say neither more nor less than the base units."""

import pytest

from miner.money import format_ait


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (10**9, "1"),
        (10 * 10**9, "10"),
        (1_500_000_000, "1.5"),
        (2**63 - 1, "9223372036.854775807"),
    ],
)
def test_base_units_as_ait(base: int, text: str) -> None:
    assert format_ait(base) == text
