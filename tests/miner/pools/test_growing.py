"""A text that is made twice is told once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.engines.interface import EngineFailedError
from miner.pools.growing import GrowingText


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@given(
    st.text(max_size=40),
    st.lists(st.tuples(st.lists(st.integers(0, 100), max_size=6), st.integers(0, 8)), max_size=4),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_however_it_comes_and_is_lost_each_character_is_told_once(
    text: str, lost: list[tuple[list[int], int]], last: list[int]
) -> None:
    told: list[str] = []
    growing = GrowingText(lambda _, piece: told.append(piece))
    for cuts, count in lost:
        growing.begin_again()
        for piece in split(text, cuts)[:count]:
            growing.add(1, piece)
        assert text.startswith("".join(told))
    growing.begin_again()
    for piece in split(text, last):
        growing.add(50, piece)
    growing.finish()
    assert "".join(told) == text


def test_a_text_that_differs_from_what_was_told_ends_the_job() -> None:
    told: list[str] = []
    growing = GrowingText(lambda _, piece: told.append(piece))
    growing.add(1, "The quick brown")
    growing.begin_again()
    growing.add(1, "The qui")
    with pytest.raises(EngineFailedError, match="not the one begun"):
        growing.add(1, "et ")
    assert "".join(told) == "The quick brown"


def test_a_text_that_ends_before_what_was_told_ends_the_job() -> None:
    growing = GrowingText(lambda _, piece: None)
    growing.add(1, "The quick brown")
    growing.begin_again()
    growing.add(1, "The quick")
    with pytest.raises(EngineFailedError, match="ends before"):
        growing.finish()
