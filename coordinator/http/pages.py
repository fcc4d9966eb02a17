"""The API for people to read: Swagger UI at `/docs`, ReDoc at `/redoc`, from our own files."""

from pathlib import Path
from typing import Final

from aiohttp import web

from coordinator.http.problems import not_found
from coordinator.http.routing import PUBLIC, Bucket, Call, Route

_FOLDER: Final = Path(__file__).with_name("static")
_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger.js": "text/javascript",
    "redoc.standalone.js": "text/javascript",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; worker-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere runs or is sent to; both tools write style attributes."""


async def show_swagger(call: Call) -> web.FileResponse:
    return _answer("swagger.html", "text/html")


async def show_redoc(call: Call) -> web.FileResponse:
    return _answer("redoc.html", "text/html")


async def show_asset(call: Call) -> web.FileResponse:
    name = call.path["name"]
    if name not in _ASSETS:
        raise not_found("page")
    return _answer(name, _ASSETS[name])


def _answer(name: str, content_type: str) -> web.FileResponse:
    response = web.FileResponse(_FOLDER / name)
    response.content_type = content_type
    response.charset = "utf-8"
    response.headers["Cache-Control"] = "public, no-cache"
    response.headers["Content-Security-Policy"] = _POLICY
    return response


ROUTES = (
    Route(
        "GET", "/docs", show_swagger, "Try the API in a browser", "System",
        roles=PUBLIC, bucket=Bucket.PUBLIC, content_type="text/html",
    ),
    Route(
        "GET", "/redoc", show_redoc, "Read the API's reference", "System",
        roles=PUBLIC, bucket=Bucket.PUBLIC, content_type="text/html",
    ),
    Route(
        "GET", "/docs/{name}", show_asset, "What the pages are made of", "System",
        roles=PUBLIC, bucket=Bucket.PUBLIC, content_type="text/plain",
    ),
)  # fmt: skip
