"""The text engine: the real model once, and an endpoint that misbehaves."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.engines.text import TextEngine
from miner.engines.text_backends import LlamaProcess, RemoteEndpoint
from miner.engines.text_request import TextRequest, read_text_request
from miner.models import ModelStore, choose_folder, load_packaged_lock
from tests.support.scripted_server import Prepared, serve

MODEL = "smollm2-135m@" + "b1" * 32
MODELS = Prepared(200, {"data": [{"id": "served"}]})
CHAT = {"messages": [{"role": "user", "content": "Name three colours."}]}


def make_request(max_tokens: int = 12, **input_: Any) -> TextRequest:
    params = {"max_tokens": max_tokens, "temperature": 0.8, "seed": 5}
    return read_text_request({"input": input_ or CHAT, "params": params})


def ignore(progress: int, text: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def model_path() -> Path:
    return ModelStore(choose_folder(), load_packaged_lock()).fetch("smollm2-135m")


@pytest.fixture
async def llama(model_path: Path) -> AsyncIterator[LlamaProcess]:
    process = LlamaProcess(model_path, "smollm2-135m", context=512)
    yield process
    await process.close()


async def test_the_real_model_answers_counts_and_repeats_itself(llama: LlamaProcess) -> None:
    engine = TextEngine(MODEL, llama)
    seen: list[tuple[int, str]] = []
    request = make_request()
    first = await engine.run(request, lambda *step: seen.append(step), asyncio.Event())
    assert first.answer["text"] and not first.is_cut
    usage = first.answer["usage"]
    assert 0 < usage["completion_tokens"] <= 12
    assert first.units == usage["total_tokens"]
    assert first.units == usage["prompt_tokens"] + usage["completion_tokens"]
    assert first.answer["finish_reason"] in ("stop", "length")
    assert [progress for progress, _ in seen] == sorted(progress for progress, _ in seen)
    assert "".join(piece for _, piece in seen) == first.answer["text"]
    assert "xllamacpp" in first.engine
    assert set(first.pins) == {"build", "context", "model_sha256", "seed", "threads"}
    tokens = first.answer["verification"]["token_ids"]
    # The end of a sequence is a token too, and no piece of text.
    has_ending = first.answer["finish_reason"] == "stop"
    assert len(tokens) == usage["completion_tokens"] - has_ending
    raw = make_request(4, prompt="Once upon a time", raw=True)
    continued = await engine.run(raw, ignore, asyncio.Event())
    assert continued.answer["usage"]["completion_tokens"] == 4
    again = await engine.run(request, ignore, asyncio.Event())
    assert again.answer == first.answer

    with pytest.raises(InputInvalidError, match="context"):
        await engine.run(make_request(prompt="word " * 2_000), ignore, asyncio.Event())

    stop = asyncio.Event()
    cut = await engine.run(make_request(400), lambda *_: stop.set(), stop)
    assert (cut.is_cut, cut.answer["finish_reason"]) == (True, "cancelled")
    assert cut.units == cut.answer["usage"]["total_tokens"] > 0
    assert len(cut.answer["verification"]["token_ids"]) == cut.answer["usage"]["completion_tokens"]
    emoji = await engine.run(
        make_request(24, prompt="Repeat: 🍜🍜🍜🍜🍜🍜🍜🍜", raw=True), ignore, asyncio.Event()
    )
    assert len(emoji.answer["verification"]["token_ids"]) > 3 * emoji.answer["text"].count("🍜")

    before = llama.process_id
    assert before is not None
    with pytest.raises(EngineFailedError):
        await engine.run(
            make_request(400), lambda *_: os.kill(before, signal.SIGKILL), asyncio.Event()
        )
    recovered = await engine.run(request, ignore, asyncio.Event())
    assert recovered.answer == first.answer
    assert llama.process_id != before
    await engine.close()
    assert llama.process_id is None


async def test_weights_that_are_none_do_not_start() -> None:
    process = LlamaProcess(choose_folder() / "absent.gguf", "absent")
    with pytest.raises(EngineFailedError, match="did not start"):
        await process.ensure()
    await process.close()


def make_stream(*events: Any, end: bool = True) -> Prepared:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Prepared(200, "".join([*lines, "data: [DONE]\n\n" if end else ""]).encode())


def make_chunk(text: str, tokens: int, finish: str | None = None) -> dict[str, Any]:
    return {
        "choices": [{"delta": {"content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": tokens},
    }


async def run_against(*answers: Prepared) -> Any:
    with serve(*answers) as server:
        engine = TextEngine(MODEL, RemoteEndpoint(server.url + "/v1", "served", "secret"))
        try:
            return await engine.run(make_request(), ignore, asyncio.Event())
        finally:
            await engine.close()


async def test_any_openai_compatible_endpoint_will_do() -> None:
    stream = make_stream(make_chunk("Red", 1), make_chunk(", blue", 3, "stop"))
    result = await run_against(MODELS, stream)
    assert (result.answer["text"], result.units) == ("Red, blue", 12)
    assert result.answer["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "answers",
    [
        [Prepared(500, {})],
        [Prepared(200, {"data": [{"id": "another model"}]})],
        [MODELS, Prepared(500, {})],
        [MODELS, Prepared(0)],
        [MODELS, make_stream(make_chunk("Red", 1), end=False)],
        [MODELS, make_stream({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})],
        [MODELS, make_stream({"error": {"message": "out of memory"}})],
        [MODELS, make_stream({"choices": [{"delta": {"content": 3}}]})],
        [MODELS, make_stream({"usage": {"prompt_tokens": -1, "completion_tokens": 2}})],
        [MODELS, make_stream([1])],
        [MODELS, Prepared(200, b"data: {\n\n")],
        [MODELS, Prepared(200, b"data: " + b"x" * 1_100_000)],
        [MODELS, make_stream(*[make_chunk("x" * 900_000, 1)] * 5)],
    ],
)
async def test_an_endpoint_that_fails_is_an_engine_that_failed(answers: list[Prepared]) -> None:
    with pytest.raises(EngineFailedError):
        await run_against(*answers)


async def test_a_refused_request_is_the_inputs_fault() -> None:
    refusal = Prepared(400, {"error": {"message": "exceeds the context"}})
    with pytest.raises(InputInvalidError, match="exceeds the context"):
        await run_against(MODELS, refusal)
