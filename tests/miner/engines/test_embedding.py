"""Embeddings by the real encoder, against numbers that others published for it."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miner.engines.embedding import MAX_TEXTS, EmbeddingEngine
from miner.engines.interface import InputInvalidError
from tests.support.engine_bench import fetch, run

HAPPY = "That is a happy person"
OTHERS = {
    "That is a happy dog": 0.69457734,
    "That is a very happy person": 0.94291502,
    "Today is a sunny day": 0.25687608,
}
"""Similarities that Hugging Face's documentation gives for this model."""


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddingEngine]:
    identity, path = fetch("all-minilm-l6-v2")
    engine = EmbeddingEngine(identity, path, 1)
    yield engine
    await engine.close()


def multiply(first: list[float], second: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(first, second, strict=True))


async def test_the_real_encoder_says_what_others_say_it_says(engine: EmbeddingEngine) -> None:
    seen: list[int] = []
    result = await run(
        engine, {"texts": [HAPPY, *OTHERS]}, on_progress=lambda step, _: seen.append(step)
    )
    first, *rest = result.answer["embeddings"]
    assert len(first) == 384
    assert multiply(first, first) == pytest.approx(1, abs=1e-6)
    assert [multiply(first, vector) for vector in rest] == pytest.approx(
        list(OTHERS.values()), abs=1e-5
    )
    assert result.answer["usage"] == {"prompt_tokens": 29, "total_tokens": 29}
    assert (result.units, result.is_cut) == (29, False)
    assert seen == sorted(seen) and len(seen) == 4
    assert "numpy" in result.engine and "CPU" in result.device
    assert set(result.pins) == {"build", "threads", "model_sha256"}
    description = await engine.prepare()
    assert description.model.startswith("all-minilm-l6-v2@53aa51172d14")

    alone = await run(engine, {"texts": [HAPPY]})
    assert alone.answer["embeddings"] == [first]  # whatever it came with

    with pytest.raises(InputInvalidError, match="text 1 has 602 tokens"):
        await run(engine, {"texts": ["short", "word " * 600]})


async def test_a_stop_leaves_the_vectors_made_by_then(engine: EmbeddingEngine) -> None:
    stop = asyncio.Event()
    texts = ["some words of a text " * 60] * MAX_TEXTS
    loop = asyncio.get_running_loop()
    stopped_at = 0.0

    def on_progress(progress: int, _: str) -> None:
        nonlocal stopped_at
        if progress >= 2 and not stop.is_set():
            stop.set()
            stopped_at = loop.time()

    result = await run(engine, {"texts": texts}, on_progress=on_progress, stop=stop)
    assert loop.time() - stopped_at < 2
    assert result.is_cut
    made = len(result.answer["embeddings"])
    assert 0 < made < MAX_TEXTS
    assert result.units == result.answer["usage"]["total_tokens"] == made * 302


@pytest.mark.parametrize(
    ("input_", "params"),
    [
        ({}, {}),
        ({"texts": []}, {}),
        ({"texts": "one"}, {}),
        ({"texts": ["a", ""]}, {}),
        ({"texts": ["a", 3]}, {}),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, {}),
        ({"texts": ["a" * 40_000]}, {}),
        ({"texts": ["a"], "prompt": "b"}, {}),
        ({"texts": ["a"]}, {"dimensions": 64}),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused(input_: Any, params: Any) -> None:
    identity, path = fetch("all-minilm-l6-v2")
    with pytest.raises(InputInvalidError):
        EmbeddingEngine(identity, path, 1).read({"input": input_, "params": params})


def test_labels_of_clients_are_ignored() -> None:
    identity, path = fetch("all-minilm-l6-v2")
    params = {"encoding_format": "base64", "user": "u"}
    EmbeddingEngine(identity, path, 1).read({"input": {"texts": ["a"]}, "params": params})
