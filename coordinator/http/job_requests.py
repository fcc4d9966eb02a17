"""What a job's body comes to: service, pinned model, content, units and escrow."""

import math
from typing import Any, Final

import rfc8785

from coordinator import catalogue, pricing, wire
from coordinator.catalogue import CUSTOM_CODE, LLM_INFERENCE, SERVICES
from coordinator.http.job_models import HardwareRequirements, JobRequest, ModelSpec, Resources
from coordinator.http.problems import Problem, invalid
from coordinator.matching import Requirements, parse_memory
from coordinator.settings import CoordinatorSettings
from coordinator.submission import JobDraft
from ledger.terms import compute_content_hash

_UNREAD: Final = ("output", "output_config", "resources", "requirements", "priority", "input")
DEFAULT_TEMPERATURE: Final = 0.7
DEFAULT_TOP_P: Final = 0.9


def build_draft(request: JobRequest, settings: CoordinatorSettings) -> JobDraft:
    """Return the job that a body asks for. Raises `Problem` (400 `INVALID_JOB_TYPE`, 422)."""
    spec = request.model if isinstance(request.model, ModelSpec) else None
    runs_code = spec is not None and spec.type == "python"
    name = spec.name if spec is not None else request.model
    assert name is None or isinstance(name, str)
    service = catalogue.find_service(request.type, name, runs_code)
    if service is None:
        raise Problem(400, f"no service does {request.type!r}", "INVALID_JOB_TYPE")
    model = _resolve_model(service, name, spec, settings)
    timeout = request.timeout_seconds or settings.default_seconds
    content = {
        "service": service,
        "model": model,
        "input": _build_input(service, request, spec),
        "params": _build_params(service, request),
    }
    try:
        input_hash = compute_content_hash(content)
    except rfc8785.CanonicalizationError as error:
        raise invalid("/input", f"has no canonical form: {error}") from None
    max_units = pricing.compute_max_units(service, content, timeout)
    try:
        cost = pricing.compute_cost(
            max_units, _get_max_cost(request), settings.prices.get(service, settings.default_price)
        )
    except ValueError as error:
        raise invalid("/max_cost", str(error)) from None
    given = request.model_dump(mode="json", exclude_unset=True)
    return JobDraft(
        name=request.name,
        job_type=request.type or service,
        service=service,
        model=model,
        content=content,
        input_hash=input_hash,
        request={key: given[key] for key in _UNREAD if key in given},
        requirements=_read_requirements(request.requirements, request.resources),
        billing=SERVICES[service].billing,
        cost=cost,
        timeout_seconds=timeout,
        estimated_seconds=pricing.estimate_seconds(service, content, timeout),
    )


def is_first_shape(request: JobRequest) -> bool:
    """Tell whether a body is of shape A, whose answer calls the new job `submitted`."""
    return request.type is not None


def _get_max_cost(request: JobRequest) -> int | None:
    texts = [request.max_cost, request.pricing.max_cost if request.pricing else None]
    given = {wire.parse_ait(text) for text in texts if text is not None}
    if len(given) > 1:
        raise invalid("/max_cost", "differs from /pricing/max_cost")
    return given.pop() if given else None


def _resolve_model(
    service: str, name: str | None, spec: ModelSpec | None, settings: CoordinatorSettings
) -> str:
    if service == CUSTOM_CODE:
        entrypoint = spec.entrypoint if spec is not None else name
        if entrypoint is None:
            raise invalid("/model/entrypoint", "code needs an entrypoint")
        return entrypoint
    if name is None:
        name = SERVICES[service].default_model
    if name is None and service == LLM_INFERENCE:
        name = settings.default_model
    if name is None:
        raise invalid("/model", f"{service} needs a model")
    return catalogue.pin_model(name)


def _build_input(service: str, request: JobRequest, spec: ModelSpec | None) -> dict[str, Any]:
    given = request.input
    members: dict[str, Any] = {}
    if isinstance(given, dict):
        members = dict(given)
    elif given is not None:
        members = {"prompt" if service == LLM_INFERENCE else "source": given}
    if request.prompt is not None:
        members["prompt"] = request.prompt
    if service == CUSTOM_CODE and spec is not None:
        members["requirements"] = spec.requirements
    if service == LLM_INFERENCE and not (
        isinstance(members.get("prompt"), str) or isinstance(members.get("messages"), list)
    ):
        raise invalid("/prompt", "a text model needs a prompt")
    return members


def _build_params(service: str, request: JobRequest) -> dict[str, Any]:
    params = request.params
    members = {} if params is None else params.model_dump(exclude_none=True)
    if service == LLM_INFERENCE:
        members.setdefault("max_tokens", pricing.DEFAULT_MAX_TOKENS)
        members.setdefault("temperature", DEFAULT_TEMPERATURE)
        members.setdefault("top_p", DEFAULT_TOP_P)
    return members


def _read_requirements(
    hardware: HardwareRequirements | None, resources: Resources | None
) -> Requirements:
    count = (hardware.gpu_count or 0) if hardware else 0
    if resources is not None and resources.gpu is not None:
        text = str(resources.gpu)
        if not (text.isascii() and text.isdigit() and int(text[:4]) <= 64):
            raise invalid("/resources/gpu", "a number of GPUs up to 64")
        count = max(count, int(text[:4]))
    if resources is not None and resources.memory is not None:
        try:
            parse_memory(resources.memory)
        except ValueError as error:
            raise invalid("/resources/memory", str(error)) from None
    memory = math.ceil((hardware.min_vram_gb or 0) * 10**9) if hardware else 0
    return Requirements(hardware.gpu_type if hardware else None, count, memory)
