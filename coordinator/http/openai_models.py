"""`/v1/models`: what the registered miners hold now, under the names that jobs use."""

from typing import Any, Literal

from coordinator.fleet import Offered
from coordinator.http.job_models import Shown
from coordinator.http.problems import not_found
from coordinator.http.routing import ANY_ROLE, Answer, Bucket, Call, Route
from coordinator.services.models import MODELS, get_model_name


class ModelShown(Shown):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Shown):
    object: Literal["list"]
    data: list[ModelShown]


async def list_models(call: Call) -> Answer:
    found = await _find_all(call)
    return Answer({"object": "list", "data": list(found.values())})


async def show_model(call: Call) -> Answer:
    model = (await _find_all(call)).get(get_model_name(call.path["model"]))
    if model is None:
        raise not_found("model")
    return Answer(model)


async def _find_all(call: Call) -> dict[str, dict[str, Any]]:
    holders: dict[str, list[Offered]] = {}
    for offered in await call.coordinator.fleet.list_offered():
        for name in {get_model_name(model) for model in offered.announced.models}:
            holders.setdefault(name, []).append(offered)
    return {name: _describe(name, holders[name]) for name in sorted(holders)}


def _describe(name: str, holders: list[Offered]) -> dict[str, Any]:
    """Return a model; it was `created` when the first of its miners registered."""
    known = MODELS.get(name)
    return {
        "id": name,
        "object": "model",
        "created": min(offered.registered_ms for offered in holders) // 1000,
        "owned_by": "miners",
        "miners": len(holders),
        "service": None if known is None else known.service,
        "sha256": None if known is None else known.sha256,
    }


ROUTES = (
    Route(
        "GET", "/v1/models", list_models, "List the models that miners hold", "OpenAI",
        roles=ANY_ROLE, answers={200: ModelList}, bucket=Bucket.POLLING, is_openai=True,
    ),
    Route(
        "GET", "/v1/models/{model}", show_model, "Get a model", "OpenAI",
        roles=ANY_ROLE, answers={200: ModelShown}, bucket=Bucket.POLLING, is_openai=True,
    ),
)  # fmt: skip
