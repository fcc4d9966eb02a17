"""Decides what a text job asks of the engine: its content read strictly, or refused with a reason.

`input` holds `messages` (a chat) or `prompt`; a prompt is one user's message to the model's chat
template, unless `raw` asks for plain completion. A parameter that would change the answer and is
not known is refused, never left out in silence.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from miner.engines.content import Seed, derive_seed, read_content
from miner.engines.interface import InputInvalidError

MAX_TOKENS: Final = 131_072
DEFAULT_MAX_TOKENS: Final = 256
MAX_PROMPT_CHARACTERS: Final = 1_000_000

Text = Annotated[str, Meta(max_length=MAX_PROMPT_CHARACTERS)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One turn of a chat."""

    role: Annotated[str, Meta(pattern=r"^(system|developer|user|assistant)\Z")]
    content: Text
    name: Annotated[str, Meta(max_length=64)] | None = None


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answer is sampled; None leaves the engine's default."""

    max_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = DEFAULT_MAX_TOKENS
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: str | Annotated[list[str], Meta(max_length=8)] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] = 1


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=256)] | None = None
    prompt: Text | None = None
    raw: bool = False


class TextRequest(msgspec.Struct, frozen=True):
    """A text job, ready for an OpenAI-compatible endpoint."""

    messages: tuple[Message, ...]
    prompt: str
    """What to continue, where there are no messages."""
    parameters: Parameters
    seed: int

    @property
    def path(self) -> str:
        """The endpoint's path."""
        return "/v1/chat/completions" if self.messages else "/v1/completions"

    def build_body(self, model: str, *, is_llama: bool = False) -> dict[str, Any]:
        """Return the body of a streaming request that counts and names its tokens as it goes."""
        chosen = msgspec.to_builtins(self.parameters)
        body: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
        body.update(
            model=model,
            seed=self.seed,
            stream=True,
            stream_options={"include_usage": True, "continuous_usage_stats": True},
            timings_per_token=True,
        )
        if not is_llama:
            body["return_token_ids"] = True  # vLLM's way; others leave it out of account
        elif self.messages:
            body.update(logprobs=True, top_logprobs=1, post_sampling_probs=True)
        else:
            body.update(logprobs=1, post_sampling_probs=True)
        if self.messages:
            body["messages"] = [msgspec.to_builtins(message) for message in self.messages]
        else:
            body["prompt"] = self.prompt
        return body


def read_text_request(content: Mapping[str, Any]) -> TextRequest:
    """Return what a job's content asks for. Raises `InputInvalidError`."""
    read, parameters = read_content(content, _Input, Parameters)
    if (read.messages is None) == (read.prompt is None):
        raise InputInvalidError("input holds either messages or a prompt")
    seed = parameters.seed if parameters.seed is not None else derive_seed(content)
    if read.messages is not None:
        return TextRequest(read.messages, "", parameters, seed)
    prompt = read.prompt or ""
    if read.raw:
        return TextRequest((), prompt, parameters, seed)
    return TextRequest((Message("user", prompt),), "", parameters, seed)
