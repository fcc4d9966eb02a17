"""Which tokens an answer was made of: known from every piece, or not known."""

from typing import Any, NamedTuple

import httpx2
import pytest

from miner.engines.interface import EngineFailedError
from miner.engines.text_tokens import TokenTrail, tokenize
from tests.support.scripted_server import Prepared, serve


class Address(NamedTuple):
    url: str
    key: str = "secret"


def name(*tokens: int) -> dict[str, Any]:
    """Return a choice as llama.cpp's server writes it."""
    return {"logprobs": {"content": [{"id": token} for token in tokens]}}


async def resolve(trail: TokenTrail, *answers: Prepared) -> tuple[list[int] | None, list[Any]]:
    with serve(*(answers or (Prepared(status=500, body={}),))) as server:
        async with httpx2.AsyncClient() as client:
            tokens = await trail.resolve(client, Address(server.url))
    return tokens, [asked.body for asked in server.asked]


async def test_tokens_come_one_a_piece_or_several() -> None:
    trail = TokenTrail()
    trail.add({}, "", None)  # the role, before any text
    trail.add(name(5), "Hel", 1)
    trail.add(name(6), "lo", 2)
    trail.add({"finish_reason": "stop"}, "", 3)
    assert await resolve(trail) == ([5, 6], [])
    several = TokenTrail()
    several.add({"token_ids": [1, 2]}, "one two", None)
    several.add({"token_ids": [3]}, " three", None)
    assert await resolve(several) == ([1, 2, 3], [])


async def test_a_piece_of_several_tokens_is_asked_for_by_its_text() -> None:
    trail = TokenTrail()
    trail.add(name(5), "a", 1)
    trail.add(name(9), "🍜", 4)
    tokens, asked = await resolve(trail, Prepared(body={"tokens": [7, 8, 9]}))
    assert tokens == [5, 7, 8, 9]
    assert asked == [{"content": "🍜", "add_special": False, "parse_special": False}]


@pytest.mark.parametrize("found", [[7, 9], [7, 8, 6], [1, 7, 8, 9], []])
async def test_what_does_not_fit_is_not_guessed(found: list[int]) -> None:
    trail = TokenTrail()
    trail.add(name(9), "🍜", 3)
    assert (await resolve(trail, Prepared(body={"tokens": found})))[0] is None


async def test_text_without_tokens_is_an_answer_without_tokens() -> None:
    trail = TokenTrail()
    trail.add({}, "Hello", 1)
    trail.add(name(6), " you", 2)
    assert await resolve(trail) == (None, [])
    for odd in ("x", {"content": "x"}, {"content": [5, {"token": "a"}]}, None):
        strange = TokenTrail()
        strange.add({"logprobs": odd}, "a", 1)
        assert await resolve(strange) == (None, [])


@pytest.mark.parametrize(
    "choice",
    [name(-1), name(2**24), {"token_ids": "abc"}, {"token_ids": [True]}, {"token_ids": [1.0]}],
)
def test_tokens_that_are_none(choice: dict[str, Any]) -> None:
    with pytest.raises(EngineFailedError, match="tokens are none"):
        TokenTrail().add(choice, "x", 1)


@pytest.mark.parametrize(
    "answer",
    [Prepared(status=500, body={}), Prepared(body=b"no"), Prepared(body=[1]), Prepared(body={})],
)
async def test_an_engine_that_answers_nonsense(answer: Prepared) -> None:
    with serve(answer) as server:
        async with httpx2.AsyncClient() as client:
            with pytest.raises(EngineFailedError):
                await tokenize(client, Address(server.url), "x", has_special=True)
