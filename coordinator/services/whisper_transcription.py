"""Speech: sound in, timed text out; each second of sound is billed, a begun one whole."""

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


class SpeechRequest(ServiceRequest):
    """Where the sound is, and what is to be written down."""

    audio_url: Source
    language: Annotated[
        str | None,
        Field(pattern=r"^([a-z]{2,3}|auto)$", description="ISO 639 code; none: it is heard"),
    ] = None
    task: Literal["transcribe", "translate"] = "transcribe"


def _count_most_units(content: Content, seconds: int) -> int:
    # No miner of use is slower than the sound itself.
    return seconds


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 600


SERVICE: Final = Service(
    service_id="whisper_transcription",
    name="Speech transcription",
    description="Writes down, or translates into English, what is said in a recording.",
    category="audio",
    tags=("whisper", "speech", "audio", "transcription", "translation"),
    request=SpeechRequest,
    params=frozenset({"language", "task"}),
    main="audio_url",
    unit_type="audio_second",
    billing=PER_UNIT,
    verification=Verification.TOLERANCE,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=1),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model="tiny.en",
    sources=frozenset({"audio_url"}),
    telling=frozenset({"audio_url"}),
)
