"""What a client may keep: every JSON answer to a GET has an ETag, and an unchanged one is a 304."""

from hashlib import blake2b
from typing import Final

from aiohttp import web

from coordinator.http import ranges

REVALIDATE: Final = "private, no-cache"
"""It may be kept by the client that asked, and must be asked about each time."""
_TAG_BYTES: Final = 12


def tag_answer(request: web.Request, response: web.Response) -> web.Response:
    """Return the answer with its ETag, or 304 where the client holds the same bytes.

    Answers that carry a tag of their own, such as immutable blocks and files, stay as they are.
    """
    if request.method not in ("GET", "HEAD") or response.status != 200:
        return response
    if "ETag" not in response.headers:
        assert isinstance(response.body, bytes)
        tag = blake2b(response.body, digest_size=_TAG_BYTES).hexdigest()
        response.headers["ETag"] = f'"{tag}"'
        response.headers.setdefault("Cache-Control", REVALIDATE)
    tag = response.headers["ETag"].strip('"')
    if not ranges.is_unchanged(request, tag):
        return response
    kept = {name: response.headers[name] for name in ("ETag", "Cache-Control")}
    return web.Response(status=304, headers=kept)
