"""The description of the WebSocket (AsyncAPI 3.0), made of the shapes that are read and written."""

from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec

from coordinator.http.live import MAX_MESSAGE_BYTES, MAX_MESSAGES, WINDOW_SECONDS
from coordinator.http.live_messages import CLOSE_REASONS, KEY_PROTOCOL, PROTOCOL, SAID, Request
from coordinator.http.routing import PUBLIC, Answer, Bucket, Call, Route
from coordinator.settings import LiveLimits

_REFERENCE: Final = "#/components/schemas/{name}"
_LONGEST_SEQ: Final = 2**53 - 1


def _write_description(limits: LiveLimits) -> str:
    return f"""\
Updates as they happen, in the order of one durable log. The key comes as `X-Api-Key` or
`Authorization: Bearer`, beside the subprotocol (`{PROTOCOL}, {KEY_PROTOCOL}<key>`), or within \
{limits.key_seconds:.0f} s as the first message, `authenticate`. Everything of the account is \
heard at once; `subscribe` chooses.

`seq` grows along the log. After a break, `?since=<the last seq seen>` or `subscribe` with `since` \
brings what was missed, or a `gap` that says what may be lost. Two kinds of message are told once \
and are in no log: `block_created`, and a `job_update` of which only `progress` is new. They carry \
the seq of the last row told, so that the last seq seen is always where to go on.

A client sends at most {MAX_MESSAGES} messages in {WINDOW_SECONDS:.0f} s, of at most \
{MAX_MESSAGE_BYTES} bytes each. The server pings after {limits.ping_seconds:.0f} s of silence and \
ends a socket after {limits.silent_seconds:.0f} s of it. At most {limits.queued_bytes} bytes wait \
for a slow reader, and a key has at most {limits.sockets_per_key} sockets.
"""


def build_document(version: str, limits: LiveLimits) -> dict[str, Any]:
    """Return the AsyncAPI document."""
    requests = {shape.__struct_config__.tag: shape for shape in get_args(Request)}
    shapes = [*requests.values(), *SAID.values()]
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
    messages: dict[str, Any] = {}
    for name, shape in requests.items():
        messages[name] = _describe(name, shape, {"$ref": _refer(shape)})
    for name, shape in SAID.items():
        messages[str(name)] = _describe(str(name), shape, _wrap(str(name), shape))
    channel = {"$ref": "#/channels/live"}
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("key", "bearer")]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AITBC live updates",
            "version": version,
            "description": _write_description(limits),
        },
        "defaultContentType": "application/json",
        "channels": {"live": _describe_channel(messages)},
        "operations": {
            "ask": {
                "action": "receive",
                "channel": channel,
                "summary": "What a client says",
                "messages": [_refer_message(name) for name in requests],
                "security": security,
            },
            "tell": {
                "action": "send",
                "channel": channel,
                "summary": "What the node says",
                "messages": [_refer_message(str(name)) for name in SAID],
                "security": security,
            },
        },
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "httpApiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "x-close-codes": {str(int(code)): reason for code, reason in CLOSE_REASONS.items()},
    }


def _describe_channel(messages: Iterable[str]) -> dict[str, Any]:
    since = {
        "type": "integer",
        "minimum": 0,
        "maximum": _LONGEST_SEQ,
        "description": "The last seq that the client has seen",
    }
    query = {"type": "object", "properties": {"since": since}}
    return {
        "address": "/ws",
        "title": "Live updates; also at /api/ws",
        "description": _list_codes(),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
    }


def _describe(name: str, shape: type[msgspec.Struct], payload: dict[str, Any]) -> dict[str, Any]:
    summary = (shape.__doc__ or "").strip().split("\n\n", maxsplit=1)[0].replace("\n    ", " ")
    return {"name": name, "summary": summary, "payload": payload}


def _wrap(name: str, shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "seq", "data"],
        "properties": {
            "type": {"const": name},
            "seq": {"type": "integer", "minimum": 0, "maximum": _LONGEST_SEQ},
            "data": {"$ref": _refer(shape)},
        },
    }


def _refer(shape: type[msgspec.Struct]) -> str:
    return _REFERENCE.format(name=shape.__name__)


def _refer_message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/live/messages/{name}"}


def _list_codes() -> str:
    lines = [f"- {int(code)}: {reason}" for code, reason in CLOSE_REASONS.items()]
    return "\n".join(["A socket ends with one of these codes.", "", *lines])


def build_route(document: dict[str, Any]) -> Route:
    """Return the route that serves the document; like the other one it does not name itself."""

    async def show(_call: Call) -> Answer:
        return Answer(document, headers={"Cache-Control": "public, max-age=60"})

    return Route(
        "GET", "/asyncapi.json", show, "The live updates", "System",
        roles=PUBLIC, bucket=Bucket.PUBLIC,
    )  # fmt: skip
