"""Pictures: a prompt in, PNGs out; each picture is billed."""

from typing import Annotated, Any, Final

from pydantic import Field

from coordinator.services.definition import (
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Verification,
)
from zk.statement import PER_UNIT

SECONDS_PER_IMAGE: Final = 30


class ImageRequest(ServiceRequest):
    """What is to be seen, how large and how often."""

    prompt: Annotated[str, Field(max_length=4_000)]
    negative_prompt: Annotated[str | None, Field(max_length=4_000)] = None
    size: Annotated[
        str,
        Field(
            pattern=r"^(1[6-9]|[2-9][0-9]|[1-9][0-9]{2}|1[0-9]{3}|20[0-3][0-9]|204[0-8])"
            r"x(1[6-9]|[2-9][0-9]|[1-9][0-9]{2}|1[0-9]{3}|20[0-3][0-9]|204[0-8])$",
            description="WIDTHxHEIGHT in pixels, each from 16 to 2048",
        ),
    ] = "512x512"
    num_images: Annotated[int, Field(ge=1, le=10)] = 1
    steps: Annotated[int, Field(ge=1, le=150)] = 20
    seed: Annotated[int | None, Field(ge=0, lt=2**31)] = None


def _count_most_units(content: Content, seconds: int) -> int:
    return int(content["params"]["num_images"])


def _estimate_seconds(content: Content, seconds: int) -> int:
    return SECONDS_PER_IMAGE * int(content["params"]["num_images"])


def _estimate_units(content: Content, result: Any, seconds: int) -> int:
    images = result.get("images") if isinstance(result, dict) else None
    return len(images) if isinstance(images, list) else 1


SERVICE: Final = Service(
    service_id="stable_diffusion",
    name="Image generation",
    description="Draws pictures of what a prompt describes.",
    category="image",
    tags=("diffusion", "image", "generation", "picture"),
    request=ImageRequest,
    params=frozenset({"size", "num_images", "steps", "seed"}),
    main="prompt",
    unit_type="image",
    billing=PER_UNIT,
    verification=Verification.TOLERANCE,
    hardware=Hardware(
        needs_gpu=False, min_vram_gb=0, min_memory_gb=1, recommended_gpu="8 GB for large models"
    ),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="tiny",
    estimate_units=_estimate_units,
)
