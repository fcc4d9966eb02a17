"""All services, and which of them a job's type, model and input come to."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from coordinator.services import (
    blender_rendering,
    custom_code,
    llm_inference,
    onnx_inference,
    stable_diffusion,
    text_embedding,
    video_transcoding,
    whisper_transcription,
)
from coordinator.services.definition import Service
from coordinator.services.models import MODELS, get_model_name

LLM_INFERENCE: Final = llm_inference.SERVICE.service_id
CUSTOM_CODE: Final = custom_code.SERVICE.service_id
AI_INFERENCE: Final = "ai-inference"

_ALL: Final[tuple[Service, ...]] = (
    llm_inference.SERVICE,
    whisper_transcription.SERVICE,
    stable_diffusion.SERVICE,
    video_transcoding.SERVICE,
    blender_rendering.SERVICE,
    text_embedding.SERVICE,
    onnx_inference.SERVICE,
    custom_code.SERVICE,
)
SERVICES: Final[Mapping[str, Service]] = MappingProxyType(
    {service.service_id: service for service in _ALL}
)

_TELLING: Final[Mapping[str, str]] = MappingProxyType(
    {name: service.service_id for service in _ALL for name in service.telling}
)
"""Members of an input that only one service has."""


def find_service(
    job_type: str | None, model: str | None, runs_code: bool, members: Collection[str] = ()
) -> Service | None:
    """Return the service that a job's type, model and input name, or None when nothing does.

    Without a type, or with the general `ai-inference`, the model decides, then the input's members;
    text is the usual work.
    """
    if job_type is not None and job_type != AI_INFERENCE:
        return SERVICES.get(job_type)
    if runs_code:
        return SERVICES[CUSTOM_CODE]
    known = MODELS.get(get_model_name(model)) if model is not None else None
    if known is not None:
        return SERVICES[known.service]
    told = {_TELLING[name] for name in members if name in _TELLING}
    return SERVICES[told.pop() if len(told) == 1 else LLM_INFERENCE]
