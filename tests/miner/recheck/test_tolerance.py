"""What is nearly the same stands; what one place of a result makes another does not."""

import base64
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.engines.image_model import encode_png
from miner.recheck.pictures import Pixels
from miner.recheck.tolerance import (
    SEGMENT_WORDS,
    compare_numbers,
    compare_pictures,
    compare_transcripts,
    compare_vectors,
    measure_word_errors,
)
from miner.recheck.verdict import Standing

Vectors = list[list[float]]
VECTORS = np.random.default_rng(3).normal(size=(3, 384))
UNIT: Vectors = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).tolist()
WORDS = [f"word{number}" for number in range(400)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def nudge(vectors: Vectors, size: float) -> Vectors:
    noise = np.random.default_rng(4).normal(size=(3, 384))
    nudged: Vectors = (np.array(vectors) + size * noise / math.sqrt(384)).tolist()
    return nudged


def stand(claimed: Any) -> Standing:
    return compare_vectors({"embeddings": claimed}, {"embeddings": UNIT}).standing


def test_vectors() -> None:
    assert stand(UNIT) is stand(nudge(UNIT, 0.001)) is Standing.STANDS
    assert stand(UNIT[:2]) is Standing.STANDS, "a job that was cut short has the first ones"
    forged = [UNIT[0], UNIT[2], UNIT[1]]
    longer = [[value * 2 for value in UNIT[0]], *UNIT[1:]]
    infinite = [[math.inf, *UNIT[0][1:]], *UNIT[1:]]
    huge = [[1e200, *UNIT[0][1:]], *UNIT[1:]]
    for claimed in (nudge(UNIT, 0.05), forged, longer, infinite, huge, [], [*UNIT, UNIT[0]]):
        assert stand(claimed) is Standing.REFUSED
    for none in (None, [[1.0]], [None], [["a"] * 384], [[True] * 384], [[0.0] * 384]):
        assert stand(none) is Standing.REFUSED


def show(*pictures: Pixels) -> dict[str, Any]:
    return {
        "images": [
            {"b64_json": base64.b64encode(encode_png(picture)).decode()} for picture in pictures
        ]
    }


def test_pictures() -> None:
    first = np.random.default_rng(1).integers(0, 250, (32, 32, 3)).astype(np.uint8)
    second = np.flip(first).copy()
    found = show(first, second)
    assert compare_pictures(show(first, second), found).standing is Standing.STANDS
    assert compare_pictures(show(first + np.uint8(1)), found).standing is Standing.STANDS
    forged = second.copy()
    forged[17] = 255 - forged[17]
    verdict = compare_pictures(show(first, forged), found)
    assert verdict.standing is Standing.REFUSED and "at picture 1" in verdict.reason
    for images in (None, [], [5], [{"b64_json": "?"}], [{"b64_json": 5}], found["images"] * 2):
        assert compare_pictures({"images": images}, found).standing is Standing.REFUSED
    assert compare_pictures(show(first[:16]), found).standing is Standing.REFUSED


def transcribe(words: list[str]) -> dict[str, Any]:
    half = len(words) // 2
    parts = [" ".join(words[:half]), " ".join(words[half:])]
    segments = [
        {"start": 5 * number, "end": 5 * number + 5, "text": text}
        for number, text in enumerate(parts)
    ]
    return {"text": " ".join(parts), "language": "en", "duration": 10.0, "segments": segments}


def test_transcripts() -> None:
    found = transcribe(WORDS)
    assert compare_transcripts(found, found, 10).standing is Standing.STANDS
    loud = {**found, "text": found["text"].upper().replace(" ", ", ") + "!"}
    assert compare_transcripts(loud, found, 10).standing is Standing.STANDS
    one = transcribe([*WORDS[:100], "other", *WORDS[101:]])
    assert compare_transcripts(one, found, 10).value == 1 / SEGMENT_WORDS
    forged = transcribe([*WORDS[:100], "not", "that", *WORDS[102:]])
    for claimed in (
        forged,
        {**found, "text": forged["text"]},
        {**found, "segments": forged["segments"]},
        {**found, "segments": found["segments"][:1]},
        {**found, "language": "de"},
        {**found, "duration": 11.0},
        {**found, "text": None},
        {**found, "segments": [None]},
        {"text": "a " * 5_000, "segments": []},
    ):
        assert compare_transcripts(claimed, found, 10).standing is Standing.REFUSED
    short = transcribe("the quick brown fox".split())
    lie = transcribe("the quick brown dog".split())
    assert compare_transcripts(lie, short, 10).standing is Standing.REFUSED


def test_a_transcript_that_was_cut_short_is_held_against_what_was_heard_by_then() -> None:
    found = transcribe(WORDS)
    cut = {**found, "segments": found["segments"][:1], "text": found["segments"][0]["text"]}
    assert compare_transcripts(cut, found, 5).standing is Standing.STANDS
    assert compare_transcripts(cut, found, 10).standing is Standing.REFUSED


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_word_errors(claimed: list[str], found: list[str]) -> None:
    rate = measure_word_errors(claimed, found)
    assert (rate == 0) == (claimed == found)


def test_numbers() -> None:
    found = {"outputs": {"scores": [[0.5, -2.0], [100.0, 0.0]]}, "label": "cat", "count": 2}
    near = {"outputs": {"scores": [[0.5001, -2.001], [100.05, 5e-5]]}, "label": "cat", "count": 2}
    assert compare_numbers(found, found).value == 0
    assert compare_numbers(near, found).standing is Standing.STANDS
    for lie in (
        {"outputs": {"scores": [[0.51, -2.0], [100.0, 0.0]]}},
        {"outputs": {"scores": [[math.nan, -2.0], [100.0, 0.0]]}},
        {"outputs": {"scores": [[0.5, -2.0]]}},
        {"outputs": {"scores": [[True, -2.0], [100.0, 0.0]]}},
        {"label": "dog"},
        {"count": 3},
        {"more": 1},
    ):
        assert compare_numbers({**found, **lie}, found).standing is Standing.REFUSED, lie


@given(JSON)
def test_whatever_is_claimed_is_answered(claimed: Any) -> None:
    held = {"embeddings": claimed, "images": claimed, "text": claimed, "segments": claimed}
    compare_vectors(held, {"embeddings": UNIT})
    compare_pictures(held, show(np.zeros((2, 2, 3), np.uint8)))
    compare_transcripts(held, transcribe(WORDS[:8]), 10)
    compare_numbers(claimed, {"a": [1.0, 2.0]})


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_numbers_beyond_a_float_are_answered(value: int) -> None:
    assert compare_numbers([value], [1.0]).standing is Standing.REFUSED
    assert stand([[value] * 384, *UNIT[1:]]) is Standing.REFUSED
