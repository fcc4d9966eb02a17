"""Video: a file in, the same in another form out; each second of video is billed."""

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


class VideoRequest(ServiceRequest):
    """Where the video is, and what it becomes."""

    input_url: Source
    output_format: Literal["mp4", "mkv", "webm", "mov"] = "mp4"
    codec: Literal["h264", "h265", "vp9", "av1"] = "h264"
    resolution: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$",
            description="WIDTHxHEIGHT in pixels; none: that of the input",
        ),
    ] = None


def _count_most_units(content: Content, seconds: int) -> int:
    return seconds


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 600


SERVICE: Final = Service(
    service_id="video_transcoding",
    name="Video transcoding",
    description="Writes a video in another format, codec or size.",
    category="video",
    tags=("ffmpeg", "video", "transcoding", "codec"),
    request=VideoRequest,
    params=frozenset({"output_format", "codec", "resolution"}),
    main="input_url",
    unit_type="video_second",
    billing=PER_UNIT,
    verification=Verification.EXACT,
    hardware=Hardware(
        needs_gpu=False, min_vram_gb=0, min_memory_gb=2, recommended_gpu="any with NVENC"
    ),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="ffmpeg",
    sources=frozenset({"input_url"}),
    makes_files=True,
    telling=frozenset({"input_url"}),
)
