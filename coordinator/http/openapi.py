"""The API's own description (OpenAPI 3.1), made of the route table that the server runs."""

import re
from collections.abc import Sequence
from typing import Any, Final, get_args, get_origin

from openapi_pydantic import OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from coordinator.http.job_models import PageQuery
from coordinator.http.openai_errors import OpenAIError
from coordinator.http.routing import PUBLIC, Answer, Bucket, Call, Route

_PARAMETER: Final = re.compile(r"\{([a-z_]+)(?::[^}]*)?\}")
_REFERENCE: Final = "#/components/schemas/{model}"
_DESCRIPTIONS: Final = {
    200: "Done",
    201: "Created",
    204: "Nothing to say",
    206: "A part of the bytes",
}


class ErrorItem(BaseModel):
    pointer: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457, with an error code, the request's id and, for a schema, where it was broken."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error_code: str
    request_id: str
    errors: list[ErrorItem] = []


_PROBLEM: Final[tuple[str, type[BaseModel]]] = ("application/problem+json", ProblemDocument)
_OPENAI: Final[tuple[str, type[BaseModel]]] = ("application/json", OpenAIError)


def build_document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the routes, checked by `openapi-pydantic`."""
    uses: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    uses[ProblemDocument, "serialization"] = None
    uses[OpenAIError, "serialization"] = None
    for route in routes:
        if route.body is not None:
            uses[route.body, "validation"] = None
        for model in route.answers.values():
            if model is not None:
                uses[model, "serialization"] = None
    for model, mode in list(uses):
        for field in model.model_fields.values() if mode == "serialization" else ():
            if get_origin(field.annotation) is list:
                item = get_args(field.annotation)[0]
                if isinstance(item, type) and issubclass(item, BaseModel):
                    uses[item, "serialization"] = None
    names, definitions = models_json_schema(list(uses), ref_template=_REFERENCE)
    references = {key: schema["$ref"] for key, schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _describe(route, references)
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "AITBC API",
            "version": version,
            "description": "AI jobs, escrowed, run, proved and settled on the AITBC chain.",
        },
        "servers": [{"url": "/"}, {"url": "/api"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
    OpenAPI.model_validate(document)
    return document


def build_route(document: dict[str, Any]) -> Route:
    """Return the route that serves the document."""

    async def show(call: Call) -> Answer:
        return Answer(document, headers={"Cache-Control": "public, max-age=60"})

    return Route(
        "GET", "/openapi.json", show, "This document", "System", roles=PUBLIC, bucket=Bucket.PUBLIC
    )


def _describe(route: Route, references: dict[Any, str]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        parameters += _describe_query(route.query)
    if route.takes_idempotency_key:
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}})
    answers: dict[str, Any] = {}
    for status, model in route.answers.items():
        answers[str(status)] = _describe_answer(route, status, model, references)
    kind, error = _OPENAI if route.is_openai else _PROBLEM
    schema = {"$ref": references[error, "serialization"]}
    answers["default"] = {"description": "An error", "content": {kind: {"schema": schema}}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.tag],
        "operationId": _name_operation(route),
        "parameters": parameters,
        "responses": answers,
        "security": [{"ApiKey": []}, {"Bearer": []}] if route.roles else [],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.is_body_optional,
            "content": {
                "application/json": {"schema": {"$ref": references[route.body, "validation"]}}
            },
        }
    elif route.reads_own_body and route.body_type != "multipart/form-data":
        operation["requestBody"] = {
            "required": True,
            "content": {route.body_type: {"schema": {"type": "string"}}},
        }
    elif route.reads_own_body:
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": {**form, "required": ["file"]}}},
        }
    return operation


def _describe_answer(
    route: Route, status: int, model: type[BaseModel] | None, references: dict[Any, str]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _DESCRIPTIONS.get(status, "An answer")}
    if model is not None:
        schema: dict[str, Any] = {"$ref": references[model, "serialization"]}
        if route.query is not None and issubclass(route.query, PageQuery):
            schema = {"anyOf": [schema, _describe_bare_list(model, references)]}
        answer["content"] = {"application/json": {"schema": schema}}
    if status != 204 and (model is None or route.content_type != "application/json"):
        answer.setdefault("content", {})[route.content_type] = {}
    return answer


def _describe_bare_list(model: type[BaseModel], references: dict[Any, str]) -> dict[str, Any]:
    """Return the schema of a page's items alone: what `?format=array` gives."""
    (item,) = (
        get_args(field.annotation)[0]
        for field in model.model_fields.values()
        if get_origin(field.annotation) is list
    )
    return {"type": "array", "items": {"$ref": references[item, "serialization"]}}


def _describe_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    shared = schema.get("$defs", {})
    parameters = []
    for name, member in schema.get("properties", {}).items():
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", []),
                "schema": _inline(member, shared),
            }
        )
    return parameters


def _inline(schema: Any, shared: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(item, shared) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(shared[schema["$ref"].rpartition("/")[2]], shared)
    return {name: _inline(value, shared) for name, value in schema.items()}


def _name_operation(route: Route) -> str:
    path = _PARAMETER.sub(r"by_\1", route.path)
    return route.method.lower() + re.sub(r"[^a-z0-9]+", "_", path.lower()).rstrip("_")
