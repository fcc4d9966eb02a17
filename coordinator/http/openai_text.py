"""`/v1/chat/completions` and `/v1/completions`: OpenAI's contract over a text job."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from coordinator.http.job_models import Shown, Strict
from coordinator.http.job_streams import open_events, write_slowly
from coordinator.http.openai_jobs import HungUp, PaidCall, begin_call, refuse_unsupported
from coordinator.http.problems import Problem, invalid
from coordinator.http.routing import CLIENTS, Answer, Call, Route
from coordinator.services.llm_inference import MAX_CHARACTERS
from coordinator.services.registry import LLM_INFERENCE, SERVICES

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Stop = Annotated[list[Text], Field(max_length=4)]
_PASSED: Final = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
_MEANINGLESS: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "echo": (False,),
    "best_of": (1,),
    "suffix": ("",),
}


class StreamOptions(Strict):
    include_usage: bool | None = None


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=64)]
    name: Annotated[str, Field(max_length=64)] | None = None


class Sampling(Strict):
    """What both paths share. Members that a text job cannot do are refused, not left out."""

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stop: Text | Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class ChatRequest(Sampling):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=256)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = None


class CompletionRequest(Sampling):
    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextAnswer(Shown):
    """A chat completion or a completion; the choice holds a `message` or a `text`."""

    id: str
    object: Literal["chat.completion", "text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


async def complete_chat(call: Call) -> Answer | web.StreamResponse:
    body = call.get_body(ChatRequest)
    refuse_unsupported(body.model_extra, _MEANINGLESS)
    if None not in (body.max_tokens, body.max_completion_tokens):
        if body.max_tokens != body.max_completion_tokens:
            raise invalid("/max_tokens", "differs from max_completion_tokens")
    members = _read_sampling(body, body.max_completion_tokens or body.max_tokens)
    members["messages"] = [
        {"role": message.role, "content": _join(message.content)}
        | ({} if message.name is None else {"name": message.name})
        for message in body.messages
    ]
    return await _answer(call, body, members, _Chat())


async def complete(call: Call) -> Answer | web.StreamResponse:
    body = call.get_body(CompletionRequest)
    refuse_unsupported(body.model_extra, _MEANINGLESS)
    members = _read_sampling(body, body.max_tokens)
    members["prompt"] = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
    members["raw"] = True
    return await _answer(call, body, members, _Completion())


class _Chat:
    """How a chat's text is written."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    prefix = "chatcmpl-"

    def write_whole(self, text: str, reason: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}

    def write_piece(self, piece: str, is_first: bool, reason: str | None) -> dict[str, Any]:
        delta: dict[str, str] = {"role": "assistant"} if is_first else {}
        if reason is None:
            delta["content"] = piece
        return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


class _Completion:
    """How a plain completion's text is written."""

    kind = "text_completion"
    chunk_kind = "text_completion"
    prefix = "cmpl-"

    def write_whole(self, text: str, reason: str) -> dict[str, Any]:
        return {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}

    def write_piece(self, piece: str, is_first: bool, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": piece, "finish_reason": reason, "logprobs": None}


async def _answer(
    call: Call, body: Sampling, members: dict[str, Any], form: _Chat | _Completion
) -> Answer | web.StreamResponse:
    pointers = {name: f"/{name}" for name in members}
    paid = await begin_call(call, SERVICES[LLM_INFERENCE], body.model, members, pointers)
    head = {
        "id": form.prefix + paid.job_id.removeprefix("job_"),
        "created": paid.record.job.created_ms // 1000,
        "model": body.model or paid.record.job.model,
        "aitbc": {"job_id": paid.job_id, "receipt_id": paid.receipt_id},
    }
    if body.stream:
        has_usage = bool(body.stream_options and body.stream_options.include_usage)
        return await _stream(call, paid, {**head, "object": form.chunk_kind}, form, has_usage)
    result = await paid.wait()
    choice = form.write_whole(_get_text(result), _get_reason(result))
    answer = {**head, "object": form.kind, "choices": [choice], "usage": _get_usage(result)}
    return Answer(answer, headers=paid.headers)


async def _stream(
    call: Call,
    paid: PaidCall,
    head: dict[str, Any],
    form: _Chat | _Completion,
    has_usage: bool,
) -> web.StreamResponse:
    """Write the text as it comes; the last chunks wait for the settlement."""
    response = await open_events(call, paid.headers)

    async def send(choices: list[dict[str, Any]], **members: Any) -> None:
        chunk = json.dumps({**head, "choices": choices, **members}, ensure_ascii=False)
        await write_slowly(response, f"data: {chunk}\n\n".encode())

    is_first = True
    try:
        async for event in paid.follow():
            if event.name == "delta":
                await send([form.write_piece(event.data["delta"], is_first, None)])
                is_first = False
            elif event.name == "reset":
                # Nothing of what was sent can be taken back in this contract.
                raise Problem(409, "the job was begun anew by another miner", "JOB_RESTARTED")
            elif event.name == "beat":
                await write_slowly(response, b": beat\n\n")
        result = paid.get_result()
        await send([form.write_piece("", is_first, _get_reason(result))])
        if has_usage:
            await send([], usage=_get_usage(result))
        await write_slowly(response, b"data: [DONE]\n\n")
        await response.write_eof()
    except Problem as problem:
        error = {"message": problem.detail, "type": "server_error", "code": problem.code}
        text = json.dumps({"error": {**error, "param": None, **problem.members}})
        await write_slowly(response, f"data: {text}\n\n".encode())
        await response.write_eof()
    except (HungUp, TimeoutError, ConnectionError):
        response.force_close()
    return response


def _read_sampling(body: Sampling, max_tokens: int | None) -> dict[str, Any]:
    members = {name: getattr(body, name) for name in _PASSED}
    members["max_tokens"] = max_tokens
    members["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    return {name: value for name, value in members.items() if value is not None}


def _join(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _get_text(result: Mapping[str, Any]) -> str:
    text = result.get("text")
    return text if isinstance(text, str) else ""


def _get_reason(result: Mapping[str, Any]) -> str:
    return "length" if result.get("finish_reason") == "length" else "stop"


def _get_usage(result: Mapping[str, Any]) -> dict[str, int]:
    said = result.get("usage")
    given = said if isinstance(said, dict) else {}
    prompt, completion = (
        value if type(value := given.get(name)) is int and value >= 0 else 0
        for name in ("prompt_tokens", "completion_tokens")
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


ROUTES = (
    Route(
        "POST", "/v1/chat/completions", complete_chat, "Continue a chat", "OpenAI",
        roles=CLIENTS, body=ChatRequest, answers={200: TextAnswer}, is_openai=True,
    ),
    Route(
        "POST", "/v1/completions", complete, "Continue a text", "OpenAI",
        roles=CLIENTS, body=CompletionRequest, answers={200: TextAnswer}, is_openai=True,
    ),
)  # fmt: skip
