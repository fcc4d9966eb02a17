"""Decides how one declaration of a call gives a method to both clients, blocking and awaited.

    class Miners(Resource[S]):
        get = answer(miner_calls.get_miner)

A `Miners[SyncTransport]` has a `get` that returns the miner; that of a `Miners[AsyncTransport]` is
awaited. Name, signature and docstring are the builder's, for type checkers and editors as well.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from aitbc.following import iterate_pages
from aitbc.models import Page
from aitbc.signing import Signer
from aitbc.steps import Call, Steps
from aitbc.transport import AsyncTransport, SyncTransport

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
S = TypeVar("S", SyncTransport, AsyncTransport)
S_co = TypeVar("S_co", covariant=True)


class Owner(Protocol[S_co]):
    """What has the methods: a resource of a client, or a job that came from one."""

    @property
    def transport(self) -> S_co: ...
    @property
    def signer(self) -> Signer | None: ...


Lead = Callable[[Any], tuple[Any, ...]]
"""What a builder is given before the caller's arguments, of what its method belongs to."""
Finish = Callable[[Any, Any], Any]
"""What is made of an answer, or of an item, for the client that asked."""


class Resource(Generic[S]):
    """Calls that belong together, over one client's transport and, where it has one, its key."""

    def __init__(self, transport: S, signer: Signer | None = None) -> None:
        self._transport: S = transport
        self._signer = signer

    @property
    def transport(self) -> S:
        return self._transport

    @property
    def signer(self) -> Signer | None:
        return self._signer


class _Declared:
    def __init__(
        self, build: Callable[..., Any], *, lead: Lead | None = None, finish: Finish | None = None
    ) -> None:
        self.build = build
        self._lead = lead
        self._finish = finish

    def _start(self, owner: Any, args: Any, kwargs: Any) -> Any:
        return self.build(*(self._lead(owner) if self._lead else ()), *args, **kwargs)

    def _end(self, owner: Any, found: Any) -> Any:
        return found if self._finish is None else self._finish(owner, found)


class Endpoint(_Declared, Generic[P, T, A]):
    """A method that gives one answer: T to the blocking client, A to the one that awaits it."""

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Owner[SyncTransport], kind: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, owner: Owner[AsyncTransport], kind: type
    ) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        transport = owner.transport

        @functools.wraps(self.build)
        def method(*args: Any, **kwargs: Any) -> Any:
            return self._end(owner, transport.run(self._start(owner, args, kwargs)))

        @functools.wraps(self.build)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return self._end(owner, await transport.run(self._start(owner, args, kwargs)))

        return awaited if isinstance(transport, AsyncTransport) else method


class Series(_Declared, Generic[P, T, A]):
    """A method that gives one item after the other: an iterator, or one for `async for`."""

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Owner[SyncTransport], kind: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(
        self, owner: Owner[AsyncTransport], kind: type
    ) -> Callable[P, AsyncIterator[A]]: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        transport = owner.transport

        @functools.wraps(self.build)
        def method(*args: Any, **kwargs: Any) -> Any:
            for item in transport.iterate(self._start(owner, args, kwargs)):
                yield self._end(owner, item)

        @functools.wraps(self.build)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            async for item in transport.iterate(self._start(owner, args, kwargs)):
                yield self._end(owner, item)

        return awaited if isinstance(transport, AsyncTransport) else method


def answer(build: Callable[P, Steps[T]]) -> Endpoint[P, T, T]:
    """Declare a method that gives what a call or a flow comes to."""
    return Endpoint(build)


def items(build: Callable[P, Call[Page[T]]]) -> Series[P, T, T]:
    """Declare a method that gives every item of a list, asking for the pages as they are needed."""
    return Series(go_through(build))


def go_through(build: Callable[P, Call[Page[Any]]]) -> Callable[P, Steps[None]]:
    """Return the flow that goes through all pages of a list."""

    @functools.wraps(build)
    def flow(*args: P.args, **kwargs: P.kwargs) -> Steps[None]:
        return iterate_pages(build(*args, **kwargs))

    return flow


def get_signer(owner: Owner[Any]) -> tuple[Signer | None]:
    """Lead with the client's own key, which the flow may have to sign with."""
    return (owner.signer,)


def without_first(count: int, build: Callable[..., Any]) -> Callable[..., Any]:
    """Return a builder whose signature does not show its first parameters."""

    @functools.wraps(build)
    def flow(*args: Any, **kwargs: Any) -> Any:
        return build(*args, **kwargs)

    whole = inspect.signature(build)
    rest = list(whole.parameters.values())[count:]
    vars(flow)["__signature__"] = whole.replace(parameters=rest)
    return flow


def signed(build: Callable[Concatenate[Signer | None, P], Steps[T]]) -> Endpoint[P, T, T]:
    """Declare a method whose flow may sign with the client's own key."""
    return Endpoint(without_first(1, build), lead=get_signer)
