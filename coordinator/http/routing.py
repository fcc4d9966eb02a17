"""What a route is: one line of the table that the server, its checks and the API document share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, ParamSpec, TypeVar

from aiohttp import web
from pydantic import BaseModel

from coordinator.coordinator import Coordinator
from coordinator.principals import Principal, Role

_Model = TypeVar("_Model", bound=BaseModel)
_T = TypeVar("_T")
_P = ParamSpec("_P")

LARGE_BODY: Final = 32 * 1024
"""From so many bytes on a body's JSON can take longer than the event loop may stand still."""


class Bucket(StrEnum):
    """Which rate limit a route counts against."""

    NORMAL = "normal"
    POLLING = "polling"
    PUBLIC = "public"
    NONE = "none"


ANY_ROLE = frozenset(Role)
CLIENTS = frozenset({Role.CLIENT})
MINERS = frozenset({Role.MINER})
OPERATORS = frozenset({Role.OPERATOR})
PUBLIC: frozenset[Role] = frozenset()


@dataclass(slots=True)
class Call:
    """One request, after key, limits, body and query have been checked."""

    request: web.Request
    coordinator: Coordinator
    request_id: str
    principal: Principal | None
    body: BaseModel | None = None
    query: BaseModel | None = None
    raw_body: bytes = b""
    idempotency_key: str | None = None

    @property
    def caller(self) -> Principal:
        """The account behind the key; only for routes that ask for one."""
        assert self.principal is not None
        return self.principal

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters in the path."""
        return self.request.match_info

    def get_body(self, model: type[_Model]) -> _Model:
        """Return the validated body."""
        assert isinstance(self.body, model)
        return self.body

    async def compute(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Return what `work` makes of the body; in a thread where the body is large."""
        if len(self.raw_body) < LARGE_BODY:
            return work(*arguments, **named)
        return await asyncio.to_thread(work, *arguments, **named)

    def get_query(self, model: type[_Model]) -> _Model:
        """Return the validated query."""
        assert isinstance(self.query, model)
        return self.query


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer: a model, plain JSON values, or None for an empty body."""

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Awaitable[Answer | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, who may call it, what it takes and what it answers."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    roles: frozenset[Role] = ANY_ROLE
    """Whose keys are taken; empty: no key is asked for."""
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    query: type[BaseModel] | None = None
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=lambda: {200: None})
    bucket: Bucket = Bucket.NORMAL
    reads_own_body: bool = False
    """The handler reads the body itself, piece by piece."""
    body_type: str = "multipart/form-data"
    """What such a body is."""
    content_type: str = "application/json"
    is_openai: bool = False
    """Errors are OpenAI's, not problem documents."""
    works_behind: bool = False
    """A change that needs no chain in step: one of files, keys or work that is under way."""

    is_routine: bool = False
    """It says all the time how things go and changes nothing that counts: no line of audit."""

    shows_secret: bool = False
    """The answer shows a secret, this once: nothing may keep it for a repetition."""

    @property
    def takes_idempotency_key(self) -> bool:
        """Whether an `Idempotency-Key` is honoured: wherever an account makes something."""
        return self.method == "POST" and bool(self.roles) and not self.shows_secret

    @property
    def is_audited(self) -> bool:
        """Whether each request is written down: all that an account changes.

        What needs no key carries its own signature, or changes nothing.
        """
        return self.method not in ("GET", "HEAD") and bool(self.roles) and not self.is_routine

    @property
    def needs_chain(self) -> bool:
        """Whether the route is closed while the node is behind the network."""
        return self.method != "GET" and bool(self.roles) and not self.works_behind
