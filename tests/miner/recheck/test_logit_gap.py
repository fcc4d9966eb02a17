"""Text checked by the real model: honest answers stand, one forged token does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from miner.engines.text import TextEngine
from miner.engines.text_backends import LlamaProcess
from miner.engines.text_tokens import ask
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.recheck.logit_gap import MOST_HONEST_GAP, check_text
from miner.recheck.verdict import CannotSayError, Standing, Verdict

LOCK = load_packaged_lock()
GREEDY = {"max_tokens": 16, "temperature": 0.0}
DRAWN = {"max_tokens": 24, "temperature": 0.8, "top_p": 0.9, "seed": 5}
PENALISED = {
    "max_tokens": 40,
    "temperature": 0.7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.2,
    "min_p": 0.1,
    "stop": ["."],
}
WHOLE = {"max_tokens": 12, "temperature": 1.2, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 9}
ENDING = {"max_tokens": 200, "temperature": 0.7}


@pytest.fixture(scope="module")
def path() -> Path:
    return ModelStore(choose_folder(), LOCK).fetch("smollm2-135m")


class Workplace:
    """One engine that answers, and whose endpoint the answers are checked by."""

    def __init__(self, path: Path) -> None:
        model = LOCK.find("smollm2-135m")
        assert model is not None
        self.path = path
        self.backend = LlamaProcess(path, "smollm2-135m", context=512)
        self.engine = TextEngine(model.identity, self.backend)

    async def answer(self, content: dict[str, Any]) -> dict[str, Any]:
        result = await self.engine.read(content).run({}, lambda *_: None, asyncio.Event())
        return dict(result.answer)

    async def check(self, content: dict[str, Any], result: dict[str, Any]) -> Verdict:
        return await check_text(content, result, self.path, await self.backend.ensure(), threads=1)

    async def show(self, tokens: list[int]) -> str:
        async with httpx2.AsyncClient() as client:
            endpoint = await self.backend.ensure()
            shown = await ask(client, endpoint, "/detokenize", {"tokens": tokens})
        return str(shown["content"])


@pytest.fixture
async def workplace(path: Path) -> AsyncIterator[Workplace]:
    workplace = Workplace(path)
    yield workplace
    await workplace.engine.close()


def make_content(prompt: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "service": "llm_inference",
        "model": "smollm2-135m",
        "input": {"prompt": prompt, **more},
        "params": params,
    }


async def test_honest_answers_stand(workplace: Workplace) -> None:
    contents = [
        make_content("What is the capital of France?", GREEDY),
        make_content("Say hello and goodbye", PENALISED),
        make_content("Once upon a time", WHOLE, raw=True),
        make_content("Say yes.", ENDING),
    ]
    for content in contents:
        verdict = await workplace.check(content, await workplace.answer(content))
        assert verdict.standing is Standing.STANDS, (content, verdict)
        assert isinstance(verdict.value, float) and verdict.value <= 0.01


@pytest.mark.parametrize("params", [GREEDY, DRAWN])
async def test_one_forged_token_is_refused(workplace: Workplace, params: dict[str, Any]) -> None:
    content = make_content("What is the capital of France?", params)
    result = await workplace.answer(content)
    tokens = list(result["verification"]["token_ids"])
    tokens[7] = tokens[7] % 40_000 + 5_000
    # Whoever forges a token forges the text as well.
    forged = {**result, "text": await workplace.show(tokens), "verification": {"token_ids": tokens}}
    verdict = await workplace.check(content, forged)
    assert verdict.standing is Standing.REFUSED
    assert isinstance(verdict.value, float) and verdict.value > 5 * MOST_HONEST_GAP
    assert "token 7 of" in verdict.reason


async def test_another_seed_is_another_answer(workplace: Workplace) -> None:
    content = make_content("Tell me of a fox", DRAWN)
    result = await workplace.answer(content)
    other = make_content("Tell me of a fox", {**DRAWN, "seed": 6})
    assert (await workplace.check(other, result)).standing is Standing.REFUSED


async def test_what_does_not_fit_its_tokens_is_refused(workplace: Workplace) -> None:
    content = make_content("Say yes.", ENDING)
    result = await workplace.answer(content)
    assert result["finish_reason"] == "stop"
    usage = result["usage"]
    cases: dict[str, dict[str, Any]] = {
        "the text is not that": {"text": result["text"] + "!"},
        "of prompt are billed": {"usage": {**usage, "prompt_tokens": usage["prompt_tokens"] + 1}},
        "of answer are billed": {"usage": {**usage, "completion_tokens": 199}},
        "before its length": {"finish_reason": "length"},
        "more tokens than were asked": {"verification": {"token_ids": [5] * 201}},
        "none of the model's": {"verification": {"token_ids": [2**20]}},
    }
    for reason, lie in cases.items():
        verdict = await workplace.check(content, {**result, **lie})
        assert verdict.standing is Standing.REFUSED and reason in verdict.reason, verdict


async def test_an_answer_that_was_cut_off_did_not_end(workplace: Workplace) -> None:
    content = make_content("Write a long story of a fox", {**DRAWN, "max_tokens": 12})
    result = await workplace.answer(content)
    assert result["finish_reason"] == "length"
    longer = make_content("Write a long story of a fox", {**DRAWN, "max_tokens": 200})
    verdict = await workplace.check(longer, {**result, "finish_reason": "stop"})
    assert verdict.standing is Standing.REFUSED and "at the end" in verdict.reason


async def test_without_tokens_nothing_can_be_said(workplace: Workplace) -> None:
    content = make_content("Hello", GREEDY)
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    bare = {"text": "Hi", "finish_reason": "stop", "usage": usage}
    for spoilt in ({}, {"token_ids": [-1]}, {"token_ids": "no"}, {"token_ids": [1.5]}):
        with pytest.raises(CannotSayError, match="does not name its tokens"):
            await workplace.check(content, {**bare, "verification": spoilt})
