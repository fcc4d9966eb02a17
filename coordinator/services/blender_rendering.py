"""3D: a scene in, pictures of it out; each frame is billed."""

from typing import Annotated, Final, Literal

from pydantic import Field

from coordinator.services.definition import (
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Source,
    Verification,
)
from zk.statement import PER_UNIT

SECONDS_PER_FRAME: Final = 300
MAX_FRAMES: Final = 64
"""Of a job: as many files as a result may have."""


class RenderRequest(ServiceRequest):
    """Where the scene is, and how it is looked at."""

    blend_file_url: Source
    engine: Literal["cycles"] = "cycles"
    resolution_x: Annotated[int, Field(ge=16, le=8_192)] = 1_920
    resolution_y: Annotated[int, Field(ge=16, le=8_192)] = 1_080
    samples: Annotated[int, Field(ge=1, le=16_384)] = 128
    first_frame: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = 1
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


def _count_most_units(content: Content, seconds: int) -> int:
    return int(content["params"]["frames"])


def _estimate_seconds(content: Content, seconds: int) -> int:
    return SECONDS_PER_FRAME * int(content["params"]["frames"])


SERVICE: Final = Service(
    service_id="blender_rendering",
    name="3D rendering",
    description="Renders frames of a Blender scene.",
    category="3d",
    tags=("blender", "3d", "render", "cycles"),
    request=RenderRequest,
    params=frozenset(RenderRequest.model_fields) - {"model", "blend_file_url"},
    main="blend_file_url",
    unit_type="frame",
    billing=PER_UNIT,
    verification=Verification.EXACT,
    hardware=Hardware(
        needs_gpu=False, min_vram_gb=0, min_memory_gb=4, recommended_gpu="8 GB with OptiX"
    ),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="blender",
    sources=frozenset({"blend_file_url"}),
    makes_files=True,
    telling=frozenset({"blend_file_url"}),
)
