"""Embeddings: texts in, a vector for each out; their tokens are billed."""

from typing import Annotated, Any, Final

from pydantic import Field

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
BYTES_PER_TOKEN: Final = 4


class EmbeddingRequest(ServiceRequest):
    """Texts, each of which becomes a vector."""

    texts: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=32_768)]],
        Field(min_length=1, max_length=200),
    ]


def _count_most_units(content: Content, seconds: int) -> int:
    # Each text has a first and a last token of its own.
    return measure_text(content["input"]) + PROMPT_MARGIN + 2 * len(content["input"]["texts"])


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 2 + len(content["input"]["texts"]) // 10


def _estimate_units(content: Content, result: Any, seconds: int) -> int:
    return -(-measure_text(content["input"]) // BYTES_PER_TOKEN)


SERVICE: Final = Service(
    service_id="text_embedding",
    name="Text embedding",
    description="Turns texts into vectors whose nearness is nearness of meaning.",
    category="text",
    tags=("embedding", "text", "search", "vector"),
    request=EmbeddingRequest,
    params=frozenset(),
    main="texts",
    unit_type="token",
    billing=PER_UNIT,
    verification=Verification.TOLERANCE,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=1),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="all-minilm-l6-v2",
    estimate_units=_estimate_units,
    telling=frozenset({"texts"}),
)
