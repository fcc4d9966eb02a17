import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import wire
from ledger.types import MAX_AMOUNT, MAX_TIME


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("0.10", 10**8),
        ("1", 10**9),
        ("0.000000001", 1),
        ("9223372036.854775807", MAX_AMOUNT),
    ],
)
def test_amounts(text: str, amount: int) -> None:
    assert wire.parse_ait(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "1e3", "+1", "01", "1_000", "１", "-0", "-1", "NaN", "Infinity", "", " 1", "1 ", "1.", ".5",
        "1.0000000001", "9223372036.854775808", "10000000000", "9" * 5_000, "0x1", "1,5", "1\n",
        "٣", "1\x00",
    ],
)  # fmt: skip
def test_an_amount_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        wire.parse_ait(text)


@given(st.integers(0, MAX_AMOUNT))
def test_an_amount_survives_the_way_out_and_in(amount: int) -> None:
    assert wire.parse_ait(wire.format_ait(amount)) == amount
    assert wire.parse_base_units(str(amount)) == amount


@pytest.mark.parametrize("text", ["9223372036854775808", "-1", "1.0", "01", "9" * 5_000, "１"])
def test_base_units_are_plain_integers(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        wire.parse_base_units(text)


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_survives_the_way_out_and_in(time_ms: int) -> None:
    assert wire.parse_time(wire.format_time(time_ms)) == time_ms


def test_a_date_is_inclusive() -> None:
    day = wire.parse_time("2026-01-31")
    assert wire.parse_time("2026-01-31", is_end=True) == day + 86_400_000 - 1
    assert wire.parse_time("2026-01-31T00:00:00Z") == day
    assert wire.parse_time("2026-01-31T01:00:00+01:00") == day


@pytest.mark.parametrize(
    "text",
    ["2026-13-01", "2026-02-30", "yesterday", "2026-01-01T00:00:00", "1969-12-31", "", "9" * 100,
     "2026-01-01T25:00:00Z", "２０２６-01-01"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.parse_time(text)


def test_the_latest_time_can_be_written() -> None:
    assert wire.format_time(MAX_TIME).endswith("Z")


@pytest.mark.parametrize("text", ["job_", "job_00", "tx_" + "00" * 32, "job_" + "AA" * 32, ""])
def test_what_is_no_job_id(text: str) -> None:
    assert wire.parse_id(text, wire.JOB_PREFIX) is None


def test_either_prefix_of_an_id() -> None:
    job = bytes(range(32))
    assert wire.parse_id(wire.format_receipt_id(job), "receipt_", "job_") == job
    assert wire.parse_id(wire.format_job_id(job), "receipt_", "job_") == job
