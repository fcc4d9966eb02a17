"""Errors as OpenAI's clients read them, on the paths that speak OpenAI's contract."""

import json
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from coordinator.http.problems import Problem

_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class OpenAIErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    error: OpenAIErrorBody


def build_openai_response(problem: Problem, request_id: str) -> web.Response:
    """Return a problem as OpenAI writes one: a request that breaks a schema is a 400."""
    status = 400 if problem.status == 422 else problem.status
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    pointer = problem.errors[0]["pointer"] if problem.errors else ""
    body = {
        "message": problem.detail,
        "type": kind,
        "param": pointer.removeprefix("/").replace("/", ".") or None,
        "code": problem.code,
        "request_id": request_id,
        **problem.members,
    }
    return web.Response(
        status=status,
        body=json.dumps({"error": body}).encode(),
        content_type="application/json",
        headers=problem.headers,
    )
