"""The server: every route at `/…` and again at `/api/…`, open to the origins allowed."""

from collections.abc import Sequence
from typing import Final

import aiohttp_cors
from aiohttp import web

from coordinator.coordinator import Coordinator
from coordinator.http import asyncapi, live, openapi
from coordinator.http.live_hub import LiveHub
from coordinator.http.pipeline import answer_errors, build_handler, mark_answer
from coordinator.http.rate_limits import RateLimiter
from coordinator.http.routing import Route

PREFIXES: Final = ("", "/api")
_PREFLIGHT_SECONDS: Final = 3_600


def build_app(routes: Sequence[Route], coordinator: Coordinator) -> web.Application:
    """Return the application; literal paths win over parameters whatever their order in `routes`.

    Also serves `/openapi.json`, made of the same routes, and `/ws` with `/asyncapi.json`.
    """
    app = web.Application(middlewares=[answer_errors], client_max_size=2**40)
    cors = aiohttp_cors.setup(app, defaults=_build_cors(coordinator.settings.cors_origins))
    limiter = RateLimiter(coordinator.settings.rate_limits, not coordinator.chain.is_dev)
    document = openapi.build_document(routes, coordinator.version)
    app.on_response_prepare.append(mark_answer)
    hub = LiveHub(coordinator)
    app.cleanup_ctx.append(hub.run)
    app.on_shutdown.append(hub.close)
    described = asyncapi.build_document(coordinator.version, coordinator.settings.live)
    unlisted = (
        openapi.build_route(document),
        asyncapi.build_route(described),
        live.build_route(hub, limiter),
    )
    table = [*routes, *unlisted]
    by_path: dict[str, list[Route]] = {}
    for route in sorted(table, key=_rank):
        by_path.setdefault(route.path, []).append(route)
    for prefix in PREFIXES:
        for path, alike in by_path.items():
            resource = app.router.add_resource(prefix + path)
            cors.add(resource)
            for route in alike:
                handler = build_handler(route, coordinator, limiter)
                cors.add(resource.add_route(route.method, handler))
                if route.method == "GET":
                    cors.add(resource.add_route("HEAD", handler))
    return app


def _build_cors(origins: Sequence[str]) -> dict[str, aiohttp_cors.ResourceOptions]:
    """Keys travel in headers and never by themselves, so no origin is given credentials."""
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call] # it is not typed
        allow_credentials=False,
        expose_headers="*",
        allow_headers="*",
        allow_methods="*",
        max_age=_PREFLIGHT_SECONDS,
    )
    return dict.fromkeys(origins, options)


def _rank(route: Route) -> tuple[int, ...]:
    """Literal segments sort before parameters, segment by segment."""
    return tuple(int("{" in segment) for segment in route.path.split("/"))
