"""The replay of llama.cpp's sampler: draws of the standard, and gaps that mean what they say."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.recheck.sampling import MOST_GAP, PRECISION, Sampling, draw, measure_gap, penalise

LOGITS = np.array([5.0, 4.0, 3.9, 1.0, -2.0], np.float32)
GREEDY = Sampling(0, 0.0, 40, 0.95, 0.05, 0.0, 0.0, 64)
WARM = Sampling(0, 1.0, 40, 1.0, 0.0, 0.0, 0.0, 64)


def test_draws_are_those_of_the_standard_generator() -> None:
    words = np.random.RandomState(5489).randint(0, 2**32, size=10_000, dtype=np.uint32)
    assert words[-1] == 4_123_659_995  # [rand.predef] of the C++ standard
    first = draw(5489, 1)[0]
    assert first == (3_499_211_612 + 581_869_302 * 2**32) / 2**64
    assert all(0 <= drawn < 1 for drawn in draw(7, 1_000))


def test_without_a_temperature_the_gap_is_that_to_the_best_token() -> None:
    gaps = [measure_gap(LOGITS, token, 0.5, GREEDY) for token in range(5)]
    assert gaps == pytest.approx([0, 1, 1.1, 4, 7], abs=1e-6)


def test_the_token_that_is_drawn_has_no_gap() -> None:
    shares = np.exp(LOGITS - LOGITS.max())
    edges = np.concatenate([[0], np.cumsum(shares / shares.sum())])
    for token in range(5):
        inside = (edges[token] + edges[token + 1]) / 2
        assert measure_gap(LOGITS, token, inside, WARM) == 0
        others = [measure_gap(LOGITS, other, inside, WARM) for other in range(5) if other != token]
        assert min(others) > 0


def test_tokens_of_nearly_one_logit_may_have_changed_places() -> None:
    """The second and third are 0.1 apart: either's draw is the other's within that gap."""
    shares = np.exp(LOGITS - LOGITS.max())
    edges = np.cumsum(shares / shares.sum())
    inside_second = (edges[0] + edges[1]) / 2
    assert measure_gap(LOGITS, 2, inside_second, WARM) <= 0.11
    assert measure_gap(LOGITS, 3, inside_second, WARM) > 1


def test_a_token_that_is_cut_off_is_as_far_as_the_cut() -> None:
    narrow = Sampling(0, 1.0, 2, 1.0, 0.0, 0.0, 0.0, 64)
    assert measure_gap(LOGITS, 2, 0.999, narrow) == pytest.approx(0.1, abs=0.01)
    assert measure_gap(LOGITS, 4, 0.999, narrow) > 5
    least = Sampling(0, 1.0, 0, 1.0, 0.3, 0.0, 0.0, 64)
    assert measure_gap(LOGITS, 3, 0.999, least) > 2


def test_penalties_count_what_stands_in_the_window() -> None:
    sampling = Sampling(0, 1.0, 40, 1.0, 0.0, 0.5, 0.25, 3)
    changed = penalise(LOGITS, [4, 0, 0, 1], sampling)
    assert changed.tolist() == pytest.approx([4.0, 3.25, 3.9, 1.0, -2.0])
    assert penalise(LOGITS, [], sampling) is LOGITS
    none = msgspec.structs.replace(sampling, repeat_last_n=0)
    assert penalise(LOGITS, [0], none) is LOGITS
    whole = msgspec.structs.replace(sampling, repeat_last_n=-1)
    assert penalise(LOGITS, [4, 0, 0, 1], whole)[4] == pytest.approx(-2.75)


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40),
    st.data(),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.sampled_from([0, 3, 40]),
    st.sampled_from([0.5, 1.0]),
    st.sampled_from([0.0, 0.1]),
)
def test_one_token_is_drawn_whatever_the_logits(
    logits: list[float],
    data: st.DataObject,
    drawn: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
) -> None:
    sampling = Sampling(0, temperature, top_k, top_p, min_p, 0.0, 0.0, 64)
    array = np.array(logits, np.float32)
    gaps = [measure_gap(array, token, drawn, sampling) for token in range(len(logits))]
    assert min(gaps) <= PRECISION
    assert all(0 <= gap <= MOST_GAP for gap in gaps)
    token = data.draw(st.integers(0, len(logits) - 1))
    raised = array.copy()
    raised[token] += 64  # above all others
    if min_p or top_k or top_p < 1:
        assert measure_gap(raised, token, 0.0, sampling) == 0
