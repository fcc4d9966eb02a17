"""The way of each request, the same for every route: whatever it holds, its answer is below 500.

Order: request id, key, rate limit, query, whether the node is in step, body, schema, idempotency,
handler, ETag. A 500 is a bug of ours and says nothing but its request id.
"""

import asyncio
import re
import secrets
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pydantic
import structlog
from aiohttp import web

from coordinator import wire
from coordinator.coordinator import Coordinator
from coordinator.http import idempotency
from coordinator.http.audit_trail import CLIENT_GONE, Trail
from coordinator.http.authentication import authenticate, check_role, read_key
from coordinator.http.body import parse_json, read_body
from coordinator.http.caching import tag_answer
from coordinator.http.health import require_in_step
from coordinator.http.openai_errors import build_openai_response
from coordinator.http.problems import Problem, build_response, from_rejection
from coordinator.http.rate_limits import RateLimiter
from coordinator.http.remote import find_remote
from coordinator.http.routing import Answer, Bucket, Call, Route
from coordinator.principals import Principal
from ledger.rejection import Rejected
from zk.process import ProverBusyError, ProverClosedError, ProverCrashedError

log = structlog.get_logger(__name__)

REQUEST_ID: Final = web.RequestKey("request_id", str)
LIMITS: Final = web.RequestKey("limits", dict[str, str])
TRAIL: Final = web.RequestKey("trail", Trail)
IS_OPENAI: Final = web.RequestKey("is_openai", bool)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_MAX_ERRORS: Final = 32
_JSON: Final = pydantic.TypeAdapter[Any](Any)

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handle) -> web.StreamResponse:
    """Give each request an id, and each failure the one shape."""
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    request[REQUEST_ID] = request_id
    bound = {"request_id": request_id}
    job = request.match_info.get("job_id", "")
    if wire.parse_id(job, wire.JOB_PREFIX) is not None:
        bound["job_id"] = job
    with structlog.contextvars.bound_contextvars(**bound):
        return await _answer(request, handler)


async def mark_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put on an answer's head what each one carries, streams and errors too, before it is sent."""
    response.headers.update(request.get(LIMITS, {}))
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")


async def _answer(request: web.Request, handler: Handle) -> web.StreamResponse:
    """Return the answer, or that to a failure; whatever is audited is noted with it."""
    try:
        response = await _answer_any(request, handler)
    except asyncio.CancelledError:
        if TRAIL in request:
            request[TRAIL].end(request, request[REQUEST_ID], CLIENT_GONE)
        raise
    if TRAIL in request:
        request[TRAIL].end(request, request[REQUEST_ID], response.status)
        await request[TRAIL].make_room()
    return response


async def _answer_any(request: web.Request, handler: Handle) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return _answer_problem(request, problem)
    except Rejected as rejected:
        return _answer_problem(request, from_rejection(rejected))
    except web.HTTPException as error:
        refused = Problem(error.status, error.reason, headers=_keep_headers(error))
        return _answer_problem(request, refused)
    except (ProverBusyError, ProverCrashedError, ProverClosedError):
        busy = Problem(503, "the prover is busy", "PROVER_BUSY", headers={"Retry-After": "2"})
        return _answer_problem(request, busy)
    except (ConnectionError, TimeoutError) as error:
        log.info("client gone", error=type(error).__name__)
        return _answer_problem(request, Problem(408, "the request did not arrive whole"))
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a 500
        # Neither the request nor the error's text: they may hold a prompt or a key.
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("request failed", error=type(error).__name__, trace=trace)
        return _answer_problem(request, Problem(500, "this is our mistake"))


def _answer_problem(request: web.Request, problem: Problem) -> web.Response:
    if TRAIL in request:
        request[TRAIL].error_code = problem.code
    if IS_OPENAI in request:
        response = build_openai_response(problem, request[REQUEST_ID])
    else:
        response = build_response(problem, request.path, request[REQUEST_ID])
    if problem.headers.get("Connection") == "close":
        response.force_close()
    return response


def _keep_headers(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def build_handler(route: Route, coordinator: Coordinator, limiter: RateLimiter) -> Handle:
    """Return what answers the requests of one route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.is_openai:
            request[IS_OPENAI] = True
        if route.is_audited:
            request[TRAIL] = Trail(route, coordinator)
        principal = await _identify(request, route, coordinator, limiter)
        bucket = route.bucket if route.roles else Bucket.PUBLIC
        if route.bucket is Bucket.NONE:
            bucket = Bucket.NONE
        who = (
            f"key:{principal.key_id}"
            if principal is not None
            else f"address:{find_remote(request)}"
        )
        request[LIMITS] = await limiter.count(bucket, who)
        call = Call(request, coordinator, request[REQUEST_ID], principal)
        if route.query is not None:
            call.query = _validate(route.query, _read_query(request))
        if route.needs_chain:
            require_in_step(coordinator)
        await _read_json(route, call)
        response = await _run(route, call)
        if isinstance(response, web.Response) and not response.prepared:
            return tag_answer(request, response)
        return response

    return handle


async def _identify(
    request: web.Request, route: Route, coordinator: Coordinator, limiter: RateLimiter
) -> Principal | None:
    if not route.roles:
        return None
    principal = await authenticate(coordinator, limiter, read_key(request), find_remote(request))
    if TRAIL in request:
        request[TRAIL].principal = principal
    check_role(principal, route.roles)
    return principal


async def _read_json(route: Route, call: Call) -> None:
    settings = call.coordinator.settings
    if route.method in ("GET", "HEAD") or route.reads_own_body:
        return
    body = await read_body(call.request, settings.maximum_json_bytes, settings.body_deadline)
    call.raw_body = body
    if route.body is None or (route.is_body_optional and not body):
        return
    if not body:
        raise Problem(400, "a JSON body is needed", "MALFORMED_JSON")
    call.body = await call.compute(_parse, route.body, body)


def _parse(model: type[pydantic.BaseModel], body: bytes) -> pydantic.BaseModel:
    return _validate(model, parse_json(body))


def _read_query(request: web.Request) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name in query:
            raise Problem(400, f"the query names {name!r} twice")
        query[name] = value
    return query


def _validate(model: type[pydantic.BaseModel], value: Any) -> pydantic.BaseModel:
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        errors = [
            {
                "pointer": _to_pointer(item["loc"], value, item["type"] == "missing"),
                "message": item["msg"],
            }
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ][:_MAX_ERRORS]
        first = errors[0]
        raise Problem(
            422, f"{first['pointer'] or 'the body'}: {first['message']}", errors=errors
        ) from None


def _to_pointer(location: tuple[int | str, ...], value: Any, is_missing: bool) -> str:
    """Return where in the body an error is; a location also names alternatives of a schema."""
    pointer = ""
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if not (is_missing and is_last):
                continue
        pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
    return pointer


async def _run(route: Route, call: Call) -> web.StreamResponse:
    key = call.request.headers.get("Idempotency-Key")
    if key is None or not route.takes_idempotency_key:
        return await _handle(route, call)
    call.idempotency_key = idempotency.check_key(key)
    storage = call.coordinator.storage
    name = f"{route.method} {call.request.path.removeprefix('/api')}"
    # Of a body that its handler reads piece by piece, the length is what is known beforehand.
    body = str(call.request.content_length).encode() if route.reads_own_body else call.raw_body
    row = await idempotency.begin(storage, call.caller, name, key, body, call.coordinator.get_now())
    if row.status is not None:
        return idempotency.repeat(row)
    try:
        response = await _handle(route, call)
    except BaseException:
        await idempotency.forget(storage, row)
        raise
    if response.status < 300 and isinstance(response, web.Response):
        await idempotency.finish(storage, row, response)
    else:
        # A stream is not kept: what it told of is there to be looked at.
        await idempotency.forget(storage, row)
    return response


async def _handle(route: Route, call: Call) -> web.StreamResponse:
    answer = await route.handler(call)
    if TRAIL in call.request:
        call.request[TRAIL].note_answer(answer)
    return _to_response(answer)


def _to_response(answer: Answer | web.StreamResponse) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if answer.payload is None and answer.status == 204:
        return web.Response(status=204, headers=answer.headers)
    return web.Response(
        status=answer.status,
        body=_JSON.dump_json(answer.payload),
        content_type="application/json",
        headers=answer.headers,
    )
