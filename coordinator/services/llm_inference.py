"""Text: a prompt or a chat in, its continuation out; tokens of both are billed."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coordinator.services.definition import (
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Verification,
    measure_text,
)
from zk.statement import PER_UNIT

PROMPT_MARGIN: Final = 64
"""Tokens that a chat template adds around a prompt."""
TOKENS_PER_SECOND: Final = 25
BYTES_PER_TOKEN: Final = 4
MAX_CHARACTERS: Final = 1_000_000


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=MAX_CHARACTERS)]
    name: Annotated[str | None, Field(max_length=64)] = None


def _demand(name: str, kind: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": kind}}}


_ALTERNATIVES: Final[Any] = [_demand("prompt", "string"), _demand("messages", "array")]


class TextRequest(ServiceRequest):
    """A prompt or a chat, and not both."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ALTERNATIVES})

    prompt: Annotated[str | None, Field(max_length=MAX_CHARACTERS)] = None
    messages: Annotated[list[Message] | None, Field(min_length=1, max_length=256)] = None
    raw: Annotated[
        bool | None, Field(description="Continue the prompt as it is, without a chat template")
    ] = None
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    top_k: Annotated[int | None, Field(ge=0, le=1_000)] = None
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None, Field(max_length=8)
    ] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**31)] = None

    @model_validator(mode="after")
    def _check_input(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("a text model needs a prompt or messages, and not both")
        return self


def _count_most_units(content: Content, seconds: int) -> int:
    return measure_text(content["input"]) + PROMPT_MARGIN + int(content["params"]["max_tokens"])


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 2 + int(content["params"]["max_tokens"]) // TOKENS_PER_SECOND


def estimate_tokens(content: Content, result: Any, seconds: int) -> int:
    """Return a token for each four bytes of prompt and answer."""
    return -(-(measure_text(content["input"]) + measure_text(result)) // BYTES_PER_TOKEN)


SERVICE: Final = Service(
    service_id="llm_inference",
    name="Text generation",
    description="Continues a prompt or a chat with a language model.",
    category="text",
    tags=("llm", "text", "chat", "completion", "generation"),
    request=TextRequest,
    params=frozenset(TextRequest.model_fields) - {"model", "prompt", "messages", "raw"},
    main="prompt",
    unit_type="token",
    billing=PER_UNIT,
    verification=Verification.LOGIT_GAP,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=1),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    estimate_units=estimate_tokens,
)
