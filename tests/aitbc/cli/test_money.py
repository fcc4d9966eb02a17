import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitbc.cli.failures import CommandError
from aitbc.cli.money import format_ait, parse_ait
from ledger.types import MAX_AMOUNT


@given(st.integers(0, MAX_AMOUNT))
def test_money_comes_back(base: int) -> None:
    assert parse_ait(format_ait(base)) == base


@pytest.mark.parametrize(
    ("text", "base"), [("0", 0), ("1", 10**9), ("1.5", 1_500_000_000), ("0.000000001", 1)]
)
def test_decimal_ait_is_exact(text: str, base: int) -> None:
    assert parse_ait(text) == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1.0000000001",
        "1,5",
        "9223372037",
        "01",
        "1_000",
        "١",
        "1 ",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        parse_ait(text)


def test_a_difference_keeps_its_sign() -> None:
    assert format_ait(-1_500_000_000) == "-1.5"
