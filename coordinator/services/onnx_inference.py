"""Any ONNX model: tensors in, tensors out; each second of run time is billed.

The model comes with the job: `name@sha256` of its bytes, which a file of the API has by itself.
"""

from typing import Annotated, Any, Final

from pydantic import Field

from coordinator.services.definition import (
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Source,
    Verification,
)
from zk.statement import PER_SECOND


class OnnxRequest(ServiceRequest):
    """The model, and a value for each of its inputs."""

    model_url: Annotated[
        Source, Field(description="The model's bytes: one file, without external data")
    ]
    tensors: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=200)], Any],
        Field(min_length=1, max_length=64, description="Input name to nested lists of numbers"),
    ]


def _count_most_units(content: Content, seconds: int) -> int:
    return seconds


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 60


SERVICE: Final = Service(
    service_id="onnx_inference",
    name="ONNX inference",
    description="Runs a model in the ONNX format, which holds data and no code.",
    category="general",
    tags=("onnx", "inference", "tensor", "classification"),
    request=OnnxRequest,
    params=frozenset(),
    main="model_url",
    unit_type="second",
    billing=PER_SECOND,
    verification=Verification.TOLERANCE,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=2),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="onnx",
    sources=frozenset({"model_url"}),
    brings_model=True,
    telling=frozenset({"tensors"}),
)
