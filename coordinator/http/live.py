"""The WebSocket at `/ws`: who may open one, and what is done with what a client says.

The key comes in a header, beside the subprotocol (`aitbc.v1, aitbc.key.<key>`), or in a first
message `authenticate`. Without one nothing is told: the contract's list of what is public does not
name it.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from aiohttp import WSMsgType, web
from pydantic import Field

from coordinator import wire
from coordinator.coordinator import Coordinator
from coordinator.http.authentication import authenticate, read_key
from coordinator.http.job_models import Parameters, QueryNumber
from coordinator.http.live_hub import LiveHub
from coordinator.http.live_messages import (
    KEY_PROTOCOL,
    PROTOCOL,
    Authenticate,
    Authenticated,
    Close,
    Error,
    Ping,
    Pong,
    Request,
    Subscribe,
    Subscribed,
    Unsubscribed,
    parse,
)
from coordinator.http.live_socket import (
    ALL_TYPES,
    END_SECONDS,
    LiveSocket,
)
from coordinator.http.problems import Problem
from coordinator.http.rate_limits import RateLimiter
from coordinator.http.remote import find_remote
from coordinator.http.routing import PUBLIC, Bucket, Call, Route
from coordinator.principals import Principal
from ledger.crypto import format_address

MAX_MESSAGE_BYTES: Final = 16 * 1024
MAX_MESSAGES: Final = 100
WINDOW_SECONDS: Final = 10.0
"""A client sends at most so many messages in so long, heartbeats included."""
MAX_MALFORMED: Final = 5
"""The message behind so many that could not be read ends the socket."""

_CLOSES: Final = {421: Close.OTHER_COORDINATOR, 429: Close.TOO_FAST}
_FRAMES: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)


class LiveQuery(Parameters):
    """`since`: where the socket of before was."""

    since: Annotated[QueryNumber, Field(ge=0, le=2**53 - 1)] | None = None


class _Ended(Exception):
    """The client is gone, or is to be sent away with this code."""

    def __init__(self, code: Close | None = None) -> None:
        super().__init__(str(code))
        self.code = code


def build_route(hub: LiveHub, limiter: RateLimiter) -> Route:
    """Return the route; it is described in `/asyncapi.json`, not in `/openapi.json`."""

    async def serve(call: Call) -> web.StreamResponse:
        return await _serve(call, hub, limiter)

    # Its key may come after the request, so the pipeline asks for none, and it is counted here.
    return Route(
        "GET", "/ws", serve, "Live updates", "Live",
        roles=PUBLIC, bucket=Bucket.NONE, query=LiveQuery,
    )  # fmt: skip


async def _serve(call: Call, hub: LiveHub, limiter: RateLimiter) -> web.StreamResponse:
    request, since = call.request, call.get_query(LiveQuery).since
    given, beside = read_key(request), _read_protocol_key(request)
    is_keyless = not given and not beside
    if is_keyless:
        await limiter.count(Bucket.PUBLIC, f"address:{find_remote(request)}")
    response = _check_upgrade(request)
    if hub.is_full(is_keyless):
        raise Problem(429, "too many sockets are open", headers={"Retry-After": "10"})
    principal = None
    if given:
        principal = await authenticate(call.coordinator, limiter, given, find_remote(request))
        await limiter.count(Bucket.POLLING, f"key:{principal.key_id}")
        if not hub.has_room(principal.key_id):
            raise Problem(429, "this key has too many sockets", headers={"Retry-After": "10"})
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        return response
    socket = LiveSocket(response, transport, call.coordinator.settings.live.queued_bytes)
    visit = _Visit(call.coordinator, hub, limiter, socket, response, find_remote(request))
    hub.meet(socket)
    try:
        if principal is None:
            principal = await visit.identify(beside)
        await visit.begin(principal, since)
        await visit.converse()
    except _Ended as ended:
        if ended.code is not None:
            await socket.end(ended.code)
    finally:
        hub.remove(socket)
    return response


def _check_upgrade(request: web.Request) -> web.WebSocketResponse:
    offered = _list_protocols(request)
    if offered and PROTOCOL not in offered:
        # The library would write them into the log, and one of them may be a key.
        raise Problem(400, f"the subprotocols do not name {PROTOCOL}")
    response = web.WebSocketResponse(
        timeout=END_SECONDS,
        autoping=False,
        # A compressor for each socket would cost more memory than all the rest of it.
        compress=False,
        max_msg_size=MAX_MESSAGE_BYTES,
        protocols=(PROTOCOL,),
    )
    if request.method != "GET" or not response.can_prepare(request):
        headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        raise Problem(426, "this address speaks WebSocket", "UPGRADE_REQUIRED", headers=headers)
    return response


def _list_protocols(request: web.Request) -> list[str]:
    # The library reads the first of these headers as well.
    text = request.headers.get("Sec-WebSocket-Protocol", "")
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_protocol_key(request: web.Request) -> str:
    for name in _list_protocols(request):
        if name.startswith(KEY_PROTOCOL):
            return name.removeprefix(KEY_PROTOCOL)
    return ""


class _Visit:
    """What is done on behalf of one client, from its first message to its last."""

    def __init__(
        self,
        coordinator: Coordinator,
        hub: LiveHub,
        limiter: RateLimiter,
        socket: LiveSocket,
        response: web.WebSocketResponse,
        address: str | None,
    ) -> None:
        self._coordinator = coordinator
        self._hub = hub
        self._limiter = limiter
        self._socket = socket
        self._response = response
        self._address = address
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._window_ends = 0.0
        self._messages = 0
        self._malformed = 0

    async def identify(self, key: str) -> Principal:
        """Return whose key was given, here or in the first message. Raises `_Ended`."""
        if not key:
            try:
                async with asyncio.timeout(self._coordinator.settings.live.key_seconds):
                    first = await self._read()
            except TimeoutError:
                raise _Ended(Close.UNAUTHENTICATED) from None
            if not isinstance(first, Authenticate):
                raise _Ended(Close.UNAUTHENTICATED)
            key = first.api_key
        try:
            principal = await authenticate(self._coordinator, self._limiter, key, self._address)
            await self._limiter.count(Bucket.POLLING, f"key:{principal.key_id}")
        except Problem as problem:
            raise _Ended(_CLOSES.get(problem.status, Close.UNAUTHENTICATED)) from None
        if not self._hub.has_room(principal.key_id):
            raise _Ended(Close.TOO_MANY)
        return principal

    async def begin(self, principal: Principal, since: int | None) -> None:
        """Let a client hear everything of its account until it asks for something else."""
        socket = self._socket
        socket.principal = principal
        self._hub.add(socket)
        account = format_address(principal.address)
        seconds = self._coordinator.settings.live.ping_seconds
        greeting = Authenticated(account, principal.role.value, seconds)
        await self._subscribe(Subscribe(since=since), greeting)

    async def converse(self) -> None:
        """Do what the client says until it is gone. Raises `_Ended`."""
        socket = self._socket
        while True:
            match await self._read():
                case Subscribe() as wish:
                    await self._subscribe(wish)
                case Ping():
                    await socket.say(Pong())
                case Authenticate():
                    await socket.say(Error("ALREADY_AUTHENTICATED", "this socket has its key"))
                case _:
                    self._hub.mute(socket)
                    await socket.say(Unsubscribed())

    async def _subscribe(self, wish: Subscribe, *answers: msgspec.Struct) -> None:
        socket = self._socket
        self._hub.mute(socket)
        socket.types = ALL_TYPES if wish.types is None else frozenset(wish.types)
        socket.jobs = None
        if wish.job_ids is not None:
            parsed = (wire.parse_id(job_id, wire.JOB_PREFIX) for job_id in wish.job_ids)
            socket.jobs = frozenset(job for job in parsed if job is not None)
        answer = Subscribed(sorted(socket.types), wish.job_ids)
        await self._hub.follow(socket, wish.since, *answers, answer)

    async def _read(self) -> Request:
        """Return the next message that can be read. Raises `_Ended`."""
        while True:
            message = await self._response.receive()
            if message.type not in _FRAMES:
                raise _Ended
            self._count()
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                try:
                    if message.type is WSMsgType.BINARY:
                        raise ValueError("a message is a JSON text, not a binary frame")
                    return parse(message.data)
                except ValueError as error:
                    self._malformed += 1
                    await self._socket.say(Error("MALFORMED_MESSAGE", str(error)))
                    if self._malformed > MAX_MALFORMED:
                        raise _Ended(Close.MALFORMED) from None

    def _count(self) -> None:
        now = self._now()
        self._socket.heard_at = now
        if now > self._window_ends:
            self._window_ends, self._messages = now + WINDOW_SECONDS, 0
        self._messages += 1
        if self._messages > MAX_MESSAGES:
            raise _Ended(Close.TOO_FAST)
