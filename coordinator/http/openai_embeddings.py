"""`/v1/embeddings`: OpenAI's contract over an embedding job."""

import base64
import struct
from typing import Annotated, Any, Literal

from pydantic import Field

from coordinator.http.job_models import Shown, Strict
from coordinator.http.openai_jobs import begin_call, refuse_unsupported
from coordinator.http.problems import Problem
from coordinator.http.routing import CLIENTS, Answer, Call, Route
from coordinator.services.registry import SERVICES

Text = Annotated[str, Field(min_length=1, max_length=32_768)]


class EmbeddingsRequest(Strict):
    """Texts only: which numbers stand for which words is the model's affair."""

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=200)]
    encoding_format: Literal["float", "base64"] = "float"


class EmbeddingsAnswer(Shown):
    object: Literal["list"]
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, int]


async def embed(call: Call) -> Answer:
    body = call.get_body(EmbeddingsRequest)
    refuse_unsupported(body.model_extra, {"dimensions": ()})
    texts = [body.input] if isinstance(body.input, str) else body.input
    service = SERVICES["text_embedding"]
    paid = await begin_call(call, service, body.model, {"texts": texts}, {"texts": "/input"})
    result = await paid.wait()
    vectors = read_vectors(result.get("embeddings"), len(texts))
    usage = result.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    count = total if type(total) is int and total >= 0 else 0
    return Answer(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": vector if body.encoding_format == "float" else pack(vector),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": body.model or paid.record.job.model,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        },
        headers=paid.headers,
    )


def read_vectors(value: Any, count: int) -> list[list[float]]:
    """Return the vectors of a result. Raises `Problem(424)` for a miner's nonsense."""
    is_right = (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(vector, list) and vector for vector in value)
        and all(type(number) in (int, float) for vector in value for number in vector)
    )
    if not is_right:
        raise Problem(424, "the miner's result holds no vector for each text", "RESULT_UNUSABLE")
    return [[float(number) for number in vector] for vector in value]


def pack(vector: list[float]) -> str:
    """Return base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


ROUTES = (
    Route(
        "POST", "/v1/embeddings", embed, "Embed texts", "OpenAI",
        roles=CLIENTS, body=EmbeddingsRequest, answers={200: EmbeddingsAnswer}, is_openai=True,
    ),
)  # fmt: skip
