"""Class `logit_gap`: one pass over the claimed tokens says whether the model would have made them.

The prompt's tokens are made here, from the content, by the same weights' own template; the answer's
come from the result. Text, tokens, their number and the ending have to fit each other, and no
token may have a larger gap than honest arithmetic gives.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import msgspec
from msgspec import Meta

from miner.engines.interface import EngineFailedError
from miner.engines.process import ChildProcess
from miner.engines.text import SILENCE_SECONDS, Endpoint
from miner.engines.text_request import TextRequest, read_text_request
from miner.engines.text_tokens import MAX_TOKEN, ask, build_headers, tokenize
from miner.gpu.device import CPU, Device
from miner.recheck.sampling import Sampling
from miner.recheck.verdict import CannotSayError, Standing, Verdict, judge, refuse

MODULE: Final = "miner.recheck.prefill"
MEASURE: Final = "largest logit gap"
MOST_HONEST_GAP: Final = 1.0
"""Three times the largest gap of honest answers between kernels that round differently (0.30; by
the same kernels it is 0.0), and under that of any forged token that was tried (1.4; 12 and more
where the token was a random one). See docs/decisions/checks-token-ids.md."""
UNSEEN: Final = 4
"""Tokens at an answer's end that no text shows: the end itself, or a character's first bytes."""

Token = Annotated[int, Meta(ge=0, lt=MAX_TOKEN)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]


class _Tokens(msgspec.Struct, frozen=True):
    token_ids: list[Token]


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Count
    completion_tokens: Count


class _Answer(msgspec.Struct, frozen=True):
    """What of a text result is held against the model."""

    text: str
    finish_reason: str
    usage: _Usage
    verification: _Tokens


class _Claim(msgspec.Struct, frozen=True):
    request: TextRequest
    answer: _Answer
    prompt: list[int]
    sampling: Sampling


async def check_text(
    content: Mapping[str, Any],
    result: Mapping[str, Any],
    model: Path,
    endpoint: Endpoint,
    *,
    threads: int,
    device: Device = CPU,
) -> Verdict:
    """Return the verdict on a text result; the endpoint is llama.cpp's, of the weights at `model`.

    Raises `CannotSayError`, `InputInvalidError`, `EngineFailedError` and `httpx2.HTTPError`.
    """
    request = read_text_request(content)
    try:
        answer = msgspec.convert(result, _Answer)
    except msgspec.ValidationError as error:
        raise CannotSayError(f"the result does not name its tokens: {error}") from None
    tokens = answer.verification.token_ids
    if len(tokens) > request.parameters.max_tokens:
        return refuse("the answer has more tokens than were asked for", MEASURE)
    async with httpx2.AsyncClient(timeout=SILENCE_SECONDS) as client:
        if max(tokens, default=0) >= await _count_vocabulary(client, endpoint):
            return refuse("a token is none of the model's", MEASURE)
        prompt = await _tokenize_prompt(client, endpoint, request)
        sampling = await _read_sampling(client, endpoint, request)
        shown = await ask(client, endpoint, "/detokenize", {"tokens": tokens})
    claim = _Claim(request, answer, prompt, sampling)
    contradiction = _find_contradiction(claim, str(shown.get("content")))
    if contradiction is not None:
        return refuse(contradiction, MEASURE)
    return _judge(claim, await _measure(claim, model, threads, device))


async def _count_vocabulary(client: httpx2.AsyncClient, endpoint: Endpoint) -> int:
    response = await client.get(endpoint.url + "/v1/models", headers=build_headers(endpoint))
    try:
        return int(response.json()["data"][0]["meta"]["n_vocab"])
    except (ValueError, LookupError, TypeError) as error:
        raise EngineFailedError(f"the engine does not say its vocabulary: {error!r}") from None


async def _tokenize_prompt(
    client: httpx2.AsyncClient, endpoint: Endpoint, request: TextRequest
) -> list[int]:
    text = request.prompt
    if request.messages:
        messages = [msgspec.to_builtins(message) for message in request.messages]
        answer = await ask(client, endpoint, "/apply-template", {"messages": messages})
        text = str(answer.get("prompt"))
    tokens = await tokenize(client, endpoint, text, has_special=True)
    if not tokens:
        raise CannotSayError("the prompt has no tokens")
    return tokens


async def _read_sampling(
    client: httpx2.AsyncClient, endpoint: Endpoint, request: TextRequest
) -> Sampling:
    """Return how the answer was drawn: as the request says, else by the engine's own defaults."""
    response = await client.get(endpoint.url + "/props", headers=build_headers(endpoint))
    try:
        defaults = response.json()["default_generation_settings"]["params"]
        given = msgspec.to_builtins(request.parameters)
        names = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty")
        chosen = {name: defaults[name] if given[name] is None else given[name] for name in names}
        return Sampling(seed=request.seed, repeat_last_n=defaults["repeat_last_n"], **chosen)
    except (ValueError, KeyError, TypeError) as error:
        raise EngineFailedError(f"the engine does not say its defaults: {error!r}") from None


def _find_contradiction(claim: _Claim, shown: str) -> str | None:
    """Return what of an answer does not fit its tokens; the model is not asked for that."""
    answer, asked = claim.answer, claim.request.parameters
    usage, known = answer.usage, len(answer.verification.token_ids)
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    is_stopped = answer.finish_reason == "stop" and bool(stops)
    if answer.text != shown and not (is_stopped and shown.startswith(answer.text)):
        return "the text is not that of the tokens"
    if usage.prompt_tokens != len(claim.prompt):
        return f"{usage.prompt_tokens} tokens of prompt are billed, it has {len(claim.prompt)}"
    unseen = UNSEEN + (max(len(stop.encode()) for stop in stops) if is_stopped else 0)
    if usage.completion_tokens > known + unseen:
        return f"{usage.completion_tokens} tokens of answer are billed, it has {known}"
    if answer.finish_reason == "length" and usage.completion_tokens != asked.max_tokens:
        return "the answer ended before its length was reached"
    return None


async def _measure(claim: _Claim, model: Path, threads: int, device: Device) -> dict[str, Any]:
    child = ChildProcess("re-check", MODULE, threads, device.environment)
    settings = {
        "model": str(model),
        "threads": threads,
        "prompt": claim.prompt,
        "answer": claim.answer.verification.token_ids,
        "sampling": msgspec.to_builtins(claim.sampling),
    }
    await child.start(settings)
    try:
        found = await child.read()
    except (OSError, ValueError) as error:
        last = await child.stop()
        raise EngineFailedError(f"the re-check's pass ended: {last or error}") from None
    except BaseException:
        await child.kill()
        raise
    await child.stop()
    if "missing" in found:
        raise CannotSayError(f"this build of llama.cpp has another layout: {found['missing']}")
    return found


def _judge(claim: _Claim, found: dict[str, Any]) -> Verdict:
    gaps = [float(gap) for gap in found["gaps"]]
    worst = max(gaps, default=0.0)
    where = f", at token {gaps.index(worst)} of {len(gaps)}" if gaps else ""
    is_honest = worst <= MOST_HONEST_GAP
    verdict = judge(MEASURE, worst, MOST_HONEST_GAP, is_enough=is_honest, where=where)
    # An answer that says that it came to its end: the model has to have ended there.
    has_ended = claim.answer.finish_reason == "stop" and not claim.request.parameters.stop
    if verdict.standing is Standing.STANDS and has_ended and found["ending"] > MOST_HONEST_GAP:
        ending = float(found["ending"])
        return judge(MEASURE, ending, MOST_HONEST_GAP, is_enough=False, where=", at the end")
    assert math.isfinite(worst)
    return verdict
