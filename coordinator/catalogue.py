"""Which services and models the API knows, what a unit of each is, and what a name resolves to.

A name resolves through the published table to one pinned model, or stays the name that it is: it is
never replaced by another model.
"""

from types import MappingProxyType
from typing import Final, NamedTuple

from zk.statement import PER_SECOND, PER_UNIT


class Service(NamedTuple):
    """A kind of work: how its units are called and billed, and its model where none is named."""

    unit_type: str
    billing: int
    default_model: str | None


LLM_INFERENCE: Final = "llm_inference"
CUSTOM_CODE: Final = "custom_code"
AI_INFERENCE: Final = "ai-inference"

SERVICES: Final = MappingProxyType({
    LLM_INFERENCE: Service("token", PER_UNIT, None),
    "whisper_transcription": Service("audio_second", PER_UNIT, "tiny.en"),
    "stable_diffusion": Service("image", PER_UNIT, None),
    "video_transcoding": Service("video_second", PER_UNIT, "ffmpeg"),
    "blender_rendering": Service("frame", PER_UNIT, "blender"),
    "text_embedding": Service("token", PER_UNIT, "all-minilm-l6-v2"),
    "onnx_inference": Service("second", PER_SECOND, None),
    CUSTOM_CODE: Service("second", PER_SECOND, None),
})  # fmt: skip


class Model(NamedTuple):
    """A pinned model: the service that runs it and the SHA-256 of its weights."""

    service: str
    sha256: str


MODELS: Final = MappingProxyType({
    "smollm2-135m": Model(
        LLM_INFERENCE, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
    "tiny.en": Model(
        "whisper_transcription",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    "all-minilm-l6-v2": Model(
        "text_embedding", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
    "tiny": Model(
        "stable_diffusion", "6d8af4def4177cf7dda9f9164063a6e7af934e905d0f2b5ca11904c21518fe32"
    ),
})  # fmt: skip


def pin_model(name: str) -> str:
    """Return `name@sha256` for a name of the table, any other name as it is."""
    model = MODELS.get(name)
    return name if model is None else f"{name}@{model.sha256}"


def get_model_name(model: str) -> str:
    """Return a model's name without its pin."""
    return model.partition("@")[0]


def find_service(job_type: str | None, model: str | None, runs_code: bool) -> str | None:
    """Return the service that a job's type and model name, or None when nothing resolves it.

    Without a type, or with the general `ai-inference`, the model decides; text is the usual work.
    """
    if job_type is not None and job_type != AI_INFERENCE:
        return job_type if job_type in SERVICES else None
    if runs_code:
        return CUSTOM_CODE
    known = MODELS.get(get_model_name(model)) if model is not None else None
    return LLM_INFERENCE if known is None else known.service
