"""What a job's body comes to: service, pinned model, content, units and escrow.

Three shapes of body and the services' own endpoints meet here, in the one request of the service.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pydantic
import rfc8785

from coordinator import pricing, wire
from coordinator.files import JobFile
from coordinator.http.job_models import (
    HardwareRequirements,
    JobOptions,
    JobRequest,
    ModelSpec,
    Resources,
)
from coordinator.http.problems import Problem, invalid
from coordinator.matching import Requirements, parse_memory
from coordinator.services.custom_code import CODE_MEMBERS, RUNTIMES
from coordinator.services.definition import PLAIN_PATTERN, Service, ServiceRequest
from coordinator.services.models import MODELS, get_model_name, pin_brought, pin_model
from coordinator.services.registry import CUSTOM_CODE, LLM_INFERENCE, find_service
from coordinator.settings import CoordinatorSettings
from coordinator.submission import JobDraft
from ledger.terms import compute_content_hash
from outbound.errors import OutboundError
from outbound.urls import parse_url

_UNREAD: Final = ("output", "output_config", "resources", "requirements", "priority", "input")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
PLAIN_NAME: Final = re.compile(PLAIN_PATTERN, re.ASCII)
MAX_ERRORS: Final = 32


class Asked(NamedTuple):
    """A body that has been understood: what is left is to find its files and to price it."""

    service: Service
    model: str
    request: ServiceRequest
    job_type: str
    name: str | None
    timeout_seconds: int
    max_cost: int | None
    requirements: Requirements
    unread: Mapping[str, Any]

    @property
    def sources(self) -> dict[str, str]:
        """What the members that name bytes say."""
        named = {name: getattr(self.request, name) for name in sorted(self.service.sources)}
        return {name: source for name, source in named.items() if source is not None}


def read_job(request: JobRequest, settings: CoordinatorSettings) -> Asked:
    """Return what a body of any shape asks. Raises `Problem` (400 `INVALID_JOB_TYPE`, 422)."""
    spec = request.model if isinstance(request.model, ModelSpec) else None
    runs_code = spec is not None and spec.type in RUNTIMES
    name = spec.name if spec is not None else request.model
    assert name is None or isinstance(name, str)
    given = request.input if isinstance(request.input, dict) else {}
    service = find_service(request.type, name, runs_code, given)
    if service is None:
        raise Problem(400, f"no service does {request.type!r}", "INVALID_JOB_TYPE")
    if service.service_id == CUSTOM_CODE:
        name = spec.type if spec is not None else name
    members, pointers = _merge(service, request, spec)
    _check_destination(request)
    given_members = request.model_dump(mode="json", exclude_unset=True)
    return Asked(
        service=service,
        model=resolve_model(service, name, settings),
        request=read_members(service, members, pointers),
        job_type=request.type or service.service_id,
        name=request.name,
        timeout_seconds=request.timeout_seconds or settings.default_seconds,
        max_cost=_get_max_cost(request),
        requirements=_read_requirements(request.requirements, request.resources),
        unread={key: given_members[key] for key in _UNREAD if key in given_members},
    )


def read_service_job(
    service: Service, request: ServiceRequest, options: JobOptions, settings: CoordinatorSettings
) -> Asked:
    """Return what the body of a service's own endpoint asks. Raises `Problem(422)`."""
    return Asked(
        service=service,
        model=resolve_model(service, request.model, settings),
        request=request,
        job_type=service.service_id,
        name=options.name,
        timeout_seconds=options.timeout_seconds or settings.default_seconds,
        max_cost=None if options.max_cost is None else wire.parse_ait(options.max_cost),
        requirements=Requirements(None, 0, 0),
        unread={},
    )


def is_first_shape(request: JobRequest) -> bool:
    """Tell whether a body is of shape A, whose answer calls the new job `submitted`."""
    return request.type is not None


def build_draft(
    asked: Asked, files: Mapping[str, JobFile], settings: CoordinatorSettings
) -> JobDraft:
    """Return the job, priced. `files`, by id, are those that it names. Raises `Problem(422)`."""
    service, timeout = asked.service, asked.timeout_seconds
    model = _pin_brought(asked, files) if service.brings_model else asked.model
    content = service.build_content(model, asked.request)
    if files:
        content["files"] = {name: files[name].describe() for name in sorted(files)}
    try:
        input_hash = compute_content_hash(content)
    except rfc8785.CanonicalizationError as error:
        raise invalid("/input", f"has no canonical form: {error}") from None
    max_units = pricing.compute_max_units(content, timeout)
    price = settings.prices.get(service.service_id, settings.default_price)
    try:
        cost = pricing.compute_cost(max_units, asked.max_cost, price)
    except ValueError as error:
        raise invalid("/max_cost", str(error)) from None
    return JobDraft(
        name=asked.name,
        job_type=asked.job_type,
        service=service.service_id,
        model=model,
        content=content,
        input_hash=input_hash,
        request=dict(asked.unread),
        requirements=asked.requirements,
        billing=service.billing,
        cost=cost,
        timeout_seconds=timeout,
        estimated_seconds=pricing.estimate_seconds(content, timeout),
        files=tuple(files[name].row_id for name in sorted(files)),
    )


def resolve_model(service: Service, name: str | None, settings: CoordinatorSettings) -> str:
    """Return the pinned model of a name, or of none. Raises `Problem(422)`."""
    if name is not None and not PLAIN_NAME.fullmatch(name):
        raise invalid("/model", "a model's name is printable ASCII: the receipt holds it")
    if name is None:
        name = service.default_model
    if service.service_id == CUSTOM_CODE and name not in RUNTIMES:
        raise invalid("/model", f"{CUSTOM_CODE} runs {' or '.join(sorted(RUNTIMES))}")
    if name is None and service.service_id == LLM_INFERENCE:
        name = settings.default_model
    if name is None:
        raise invalid("/model", f"{service.service_id} needs a model")
    known = MODELS.get(get_model_name(name))
    if known is not None and known.service != service.service_id:
        raise invalid("/model", f"{name} is a model of {known.service}")
    return pin_model(name)


def _pin_brought(asked: Asked, files: Mapping[str, JobFile]) -> str:
    """Return the model that comes with a job, by its hash. Raises `Problem(422)`."""
    (source,) = asked.sources.values()
    file = files.get(source)
    try:
        return pin_brought(asked.model, None if file is None else file.sha256)
    except ValueError as error:
        raise invalid("/model", str(error)) from None


def read_members(
    service: Service, members: Mapping[str, Any], pointers: Mapping[str, str]
) -> ServiceRequest:
    """Return a service's request, its members found at `pointers`. Raises `Problem(422)`."""
    try:
        request = service.request.model_validate(dict(members))
    except pydantic.ValidationError as error:
        errors = list_errors(error, pointers)
        detail = f"{errors[0]['pointer'] or 'the body'}: {errors[0]['message']}"
        raise Problem(422, detail, errors=errors) from None
    for name in service.sources:
        check_source(pointers.get(name, f"/{name}"), getattr(request, name))
    return request


def list_errors(
    error: pydantic.ValidationError, pointers: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return each broken member with its JSON pointer."""
    errors = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        first, *rest = item["loc"] or ("",)
        start = pointers.get(str(first), f"/{first}" if first else "")
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in rest]
        errors.append({"pointer": "/".join([start, *parts]), "message": item["msg"]})
    return errors[:MAX_ERRORS]


def check_source(pointer: str, source: str | None) -> None:
    """Raise `Problem(422)` for an address that no miner would ask."""
    if source is None or source.startswith(wire.FILE_PREFIX):
        return
    try:
        parse_url(source)
    except OutboundError as error:
        raise invalid(pointer, error.detail) from None


def _merge(
    service: Service, request: JobRequest, spec: ModelSpec | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the members that a body gives in its several places, and where each was found."""
    members: dict[str, Any] = {}
    pointers: dict[str, str] = {}

    def add(name: str, value: Any, pointer: str) -> None:
        if name in members and members[name] != value:
            raise invalid(pointer, f"differs from {pointers[name]}")
        members[name], pointers[name] = value, pointer

    if isinstance(request.input, dict):
        for name, value in request.input.items():
            if name != "model":
                add(name, value, f"/input/{name}")
    elif request.input is not None:
        value = [request.input] if service.main == "texts" else request.input
        add(service.main, value, "/input")
    if request.prompt is not None:
        add("prompt", request.prompt, "/prompt")
    if request.params is not None:
        for name, value in request.params.model_dump(exclude_none=True).items():
            add(name, value, f"/params/{name}")
    if spec is not None and service.service_id == CUSTOM_CODE:
        for name in CODE_MEMBERS & spec.model_fields_set:
            if (value := getattr(spec, name)) is not None:
                add(name, value, f"/model/{name}")
    for name in service.request.model_fields:
        pointers.setdefault(name, f"/input/{name}")
    return members, pointers


def _check_destination(request: JobRequest) -> None:
    destination = (request.output_config or {}).get("destination")
    if isinstance(destination, str) and _SCHEME.match(destination):
        raise invalid(
            "/output_config/destination",
            "results stay at the coordinator until they are fetched: `local` is the one choice",
        )


def _get_max_cost(request: JobRequest) -> int | None:
    texts = [request.max_cost, request.pricing.max_cost if request.pricing else None]
    given = {wire.parse_ait(text) for text in texts if text is not None}
    if len(given) > 1:
        raise invalid("/max_cost", "differs from /pricing/max_cost")
    return given.pop() if given else None


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
