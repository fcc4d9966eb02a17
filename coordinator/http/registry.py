"""The registry of services: what each takes, needs and bills, and whether a request would do."""

from collections import Counter
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, Field

from coordinator import wire
from coordinator.http.job_models import JsonObject, PageQuery, Shown, Strict, Text
from coordinator.http.job_requests import list_errors
from coordinator.http.listing import build_page
from coordinator.http.problems import not_found
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from coordinator.services.definition import Hardware, Service, Verification
from coordinator.services.models import MODELS, get_model_name, pin_brought, pin_model
from coordinator.services.registry import SERVICES
from outbound.errors import OutboundError
from outbound.urls import parse_url

CACHEABLE = {"Cache-Control": "public, max-age=60"}


class PriceUnit(Shown):
    """What one unit is, and what it costs here where a job names no `max_cost`."""

    unit_type: str
    price: str
    price_base: str


class PinnedModel(Shown):
    name: str
    sha256: str


class ServiceShown(Shown):
    service_id: str
    name: str
    description: str
    category: str
    tags: list[str]
    unit_type: str
    billing: Literal["per_unit", "per_second"]
    price: PriceUnit
    verification: Verification
    requirements: Hardware
    default_model: str | None
    models: list[PinnedModel]
    miners: int
    schema_url: str


class ServiceList(Shown):
    services: list[ServiceShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class ServicesQuery(PageQuery):
    category: Annotated[str, Field(max_length=100)] | None = None
    search: Annotated[str, Field(max_length=100)] | None = None


class ValidateRequest(Strict):
    service_id: Text
    request_data: JsonObject


class Finding(BaseModel):
    pointer: str
    message: str


class Validated(Shown):
    valid: bool
    errors: list[Finding]
    warnings: list[Finding]


async def list_services(call: Call) -> Answer:
    query = call.get_query(ServicesQuery)
    kinds = await call.coordinator.fleet.count_kinds()
    wanted = [service for service in SERVICES.values() if _is_wanted(service, query)]
    first = query.offset + (0 if query.cursor is None else int(query.cursor))
    end = min(len(wanted), first + query.limit)
    shown = [view_service(call, service, kinds) for service in wanted[first:end]]
    page = build_page("services", shown, len(wanted), query, end, len(wanted) - end)
    return Answer(page, headers=CACHEABLE)


async def show_service(call: Call) -> Answer:
    kinds = await call.coordinator.fleet.count_kinds()
    return Answer(view_service(call, _find(call), kinds), headers=CACHEABLE)


async def show_schema(call: Call) -> Answer:
    return Answer(_find(call).build_schema(), headers=CACHEABLE)


async def show_requirements(call: Call) -> Answer:
    return Answer(_find(call).hardware, headers=CACHEABLE)


async def validate(call: Call) -> Answer:
    body = call.get_body(ValidateRequest)
    service = SERVICES.get(body.service_id)
    if service is None:
        raise not_found("service")
    errors, warnings = await check_request(call, service, body.request_data)
    return Answer(Validated(valid=not errors, errors=errors, warnings=warnings))


def _check_brought(service: Service, members: dict[str, Any]) -> list[Finding]:
    """Return what a model that comes with its job lacks: at an address, a hash in its name."""
    if members[service.main].startswith(wire.FILE_PREFIX):
        return []
    try:
        pin_brought(members.get("model") or service.default_model or "", None)
    except ValueError as error:
        return [Finding(pointer="/model", message=str(error))]
    return []


async def check_request(
    call: Call, service: Service, members: dict[str, Any]
) -> tuple[list[Finding], list[Finding]]:
    """Return what would keep a request from becoming a job, and what its sender may not expect."""
    errors: list[Finding] = []
    try:
        service.request.model_validate(members)
    except pydantic.ValidationError as error:
        errors = [Finding.model_validate(item) for item in list_errors(error, {})]
    for name in sorted(service.sources):
        source = members.get(name)
        if not errors and isinstance(source, str) and not source.startswith(wire.FILE_PREFIX):
            try:
                parse_url(source)
            except OutboundError as error:
                errors.append(Finding(pointer=f"/{name}", message=error.detail))
    if service.brings_model and not errors:
        errors = _check_brought(service, members)
    warnings: list[Finding] = []
    if service.request.model_config.get("extra") != "allow":
        warnings = [
            Finding(pointer=f"/{name}"[:200], message="no member of this service: it is left out")
            for name in list(members)[:32]
            if name not in service.request.model_fields
        ]
    model = members.get("model")
    if isinstance(model, str):
        known = MODELS.get(get_model_name(model))
        if known is not None and known.service != service.service_id:
            message = f"{model} is a model of {known.service}"
            errors.append(Finding(pointer="/model", message=message))
        elif not await call.coordinator.fleet.can_do(service.service_id, pin_model(model)):
            message = "no registered miner announces this model: the job would wait for one"
            warnings.append(Finding(pointer="/model", message=message))
    return errors, warnings


def view_service(call: Call, service: Service, kinds: Counter[str]) -> ServiceShown:
    """Return a service as the registry shows it."""
    settings = call.coordinator.settings
    price = settings.prices.get(service.service_id, settings.default_price)
    default = service.default_model
    if default is None and service.service_id == "llm_inference":
        default = settings.default_model
    return ServiceShown(
        service_id=service.service_id,
        name=service.name,
        description=service.description,
        category=service.category,
        tags=list(service.tags),
        unit_type=service.unit_type,
        billing="per_second" if service.billing else "per_unit",
        price=PriceUnit(
            unit_type=service.unit_type, price=wire.format_ait(price), price_base=str(price)
        ),
        verification=service.verification,
        requirements=service.hardware,
        default_model=default,
        models=[
            PinnedModel(name=name, sha256=model.sha256)
            for name, model in MODELS.items()
            if model.service == service.service_id
        ],
        miners=kinds[service.service_id],
        schema_url=f"/v1/registry/services/{service.service_id}/schema",
    )


def _find(call: Call) -> Service:
    service = SERVICES.get(call.path["service_id"])
    if service is None:
        raise not_found("service")
    return service


def _is_wanted(service: Service, query: ServicesQuery) -> bool:
    if query.category is not None and service.category != query.category:
        return False
    if query.search is None:
        return True
    words = (service.service_id, service.name, service.description, *service.tags)
    return any(query.search.lower() in word.lower() for word in words)


ROUTES = (
    Route(
        "GET", "/v1/registry/services", list_services, "List the services", "Registry",
        roles=PUBLIC, query=ServicesQuery, answers={200: ServiceList},
    ),
    Route(
        "GET", "/v1/registry/services/{service_id}", show_service, "Get a service", "Registry",
        roles=PUBLIC, answers={200: ServiceShown},
    ),
    Route(
        "GET", "/v1/registry/services/{service_id}/schema", show_schema,
        "Get the JSON Schema of a service's request", "Registry", roles=PUBLIC,
    ),
    Route(
        "GET", "/v1/registry/services/{service_id}/requirements", show_requirements,
        "Get what a service asks of hardware", "Registry", roles=PUBLIC, answers={200: Hardware},
    ),
    Route(
        "POST", "/v1/registry/services/validate", validate,
        "Check a request before it is sent", "Registry",
        roles=PUBLIC, body=ValidateRequest, answers={200: Validated},
    ),
)  # fmt: skip
