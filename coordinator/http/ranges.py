"""Answers of plain bytes: `Content-Disposition`, `ETag`, one byte range (RFC 9110)."""

import re
from typing import Final

from aiohttp import web

from coordinator.http.problems import Problem

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of the one range asked for; None for the whole.

    Raises `Problem(416)` for a range behind the end. What is not one byte range is ignored.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= size or (first and last and int(first) > int(last)):
        raise Problem(416, f"the bytes end at {size}", headers={"Content-Range": f"bytes */{size}"})
    return start, end


def build_headers(tag: str, name: str) -> dict[str, str]:
    """Return the headers of a download."""
    return {
        "ETag": f'"{tag}"',
        "Content-Disposition": f'attachment; filename="{_NAME.sub("_", name)[:100] or "file"}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=0",
    }


def is_unchanged(request: web.Request, tag: str) -> bool:
    """Tell whether the client holds these bytes already.

    A proxy that compresses makes our tag a weak one; here the two are the same (RFC 9110, 13.1.2).
    """
    known = request.headers.get("If-None-Match", "")
    tags = (part.strip().removeprefix("W/") for part in known.split(","))
    return known.strip() == "*" or f'"{tag}"' in tags


def answer_bytes(
    request: web.Request, data: bytes, tag: str, name: str, content_type: str
) -> web.Response:
    """Return the bytes, the part asked for, or 304."""
    headers = build_headers(tag, name)
    if is_unchanged(request, tag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = content_type
    span = parse_range(request.headers.get("Range"), len(data))
    if span is None:
        return web.Response(body=data, headers=headers)
    start, end = span
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return web.Response(status=206, body=data[start:end], headers=headers)
