"""What a text job's content may ask for."""

from typing import Any

import pytest

from miner.engines.interface import InputInvalidError
from miner.engines.text_request import read_text_request

CHAT = {"messages": [{"role": "user", "content": "hello"}]}


def make_content(input_: Any, **params: Any) -> dict[str, Any]:
    return {"service": "llm_inference", "model": "m@1", "input": input_, "params": params}


def test_a_prompt_is_one_turn_of_a_chat() -> None:
    request = read_text_request(make_content({"prompt": "hello"}, max_tokens=5))
    assert request.path == "/v1/chat/completions"
    body = request.build_body("served")
    assert body["messages"] == CHAT["messages"]
    assert (body["max_tokens"], body["model"], body["stream"]) == (5, "served", True)
    assert "temperature" not in body


def test_a_raw_prompt_is_continued() -> None:
    request = read_text_request(make_content({"prompt": "Once", "raw": True}))
    assert request.path == "/v1/completions"
    assert request.build_body("m")["prompt"] == "Once"


def test_the_seed_is_the_one_given_or_follows_from_the_content() -> None:
    assert read_text_request(make_content(CHAT, seed=7)).build_body("m")["seed"] == 7
    first, again, other = (
        read_text_request(make_content(CHAT, max_tokens=tokens)).seed for tokens in (5, 5, 6)
    )
    assert first == again != other


def test_what_changes_no_answer_is_ignored() -> None:
    read_text_request(make_content(CHAT, stream=True, user="u", stream_options={}))
    read_text_request(make_content({"type": "text", "format": "plain", "prompt": "a"}))


@pytest.mark.parametrize(
    ("input_", "params"),
    [
        (None, {}),
        ("hello", {}),
        ({}, {}),
        ({"prompt": "a", "messages": CHAT["messages"]}, {}),
        ({"prompt": 3}, {}),
        ({"messages": []}, {}),
        ({"messages": [{"role": "tool", "content": "x"}]}, {}),
        ({"prompt": "a", "image": "x"}, {}),
        ({"prompt": "a" * 1_000_001}, {}),
        (CHAT, {"max_tokens": 0}),
        (CHAT, {"max_tokens": 131_073}),
        (CHAT, {"max_tokens": True}),
        (CHAT, {"temperature": 3}),
        (CHAT, {"n": 2}),
        (CHAT, {"tools": []}),
        (CHAT, {"seed": -1}),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused(input_: Any, params: dict[str, Any]) -> None:
    with pytest.raises(InputInvalidError):
        read_text_request(make_content(input_, **params))


def test_params_are_an_object() -> None:
    with pytest.raises(InputInvalidError):
        read_text_request({"input": CHAT, "params": [1]})
