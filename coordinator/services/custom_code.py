"""Foreign code in a sandbox, at miners that opt in; each second of run time is billed.

The input is the code's own affair, so every member of it is passed on as it is.
"""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from coordinator.services.definition import (
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Verification,
)
from zk.statement import PER_SECOND


class CodeRequest(ServiceRequest):
    """What the code needs installed; its entrypoint is the job's model."""

    model_config = ConfigDict(extra="allow")

    requirements: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=64)
    ] = []


def _count_most_units(content: Content, seconds: int) -> int:
    return seconds


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 600


SERVICE: Final = Service(
    service_id="custom_code",
    name="Custom code",
    description="Runs code of the client's own in a sandbox without a network.",
    category="general",
    tags=("python", "code", "sandbox"),
    request=CodeRequest,
    params=frozenset(),
    main="source",
    unit_type="second",
    billing=PER_SECOND,
    verification=Verification.NONE,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=2),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
)
