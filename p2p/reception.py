"""From a TCP connection to a session that is served to its end, inbound or dialled.

Rules W3, W4 and W10. Each connection is served by one call whose failures end with it.
"""

import os
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

import structlog
import trio

from p2p.addresses import Address, format_address, format_endpoint, is_unspecified
from p2p.bridge import Report
from p2p.counters import Counters
from p2p.directory import MAX_ADDRESSES, PeerRecord, keep_dialable
from p2p.guard import Anteroom, GuardedConnection
from p2p.handshake import RefusedByPeer, greet_as_acceptor, greet_as_dialler
from p2p.hello import Hello, HelloRefused, Refusal
from p2p.host import Host
from p2p.interface import NetworkIdentity, NetworkSettings, Session
from p2p.limits import ARRIVALS_PER_SECOND, CONNECT_SECONDS, HANDSHAKE_SECONDS, TokenBucket
from p2p.multiplexer import Multiplexer
from p2p.session import Link, LiveSession
from p2p.sessions import Place, Sessions

log = structlog.get_logger()

INSTANCE_BYTES: Final = 16
LOGGED_REFUSALS: Final = 16
"""Refusals that are logged at once; beyond that one a second. All are counted."""


class Reception:
    """Makes sessions of connections."""

    def __init__(
        self,
        identity: NetworkIdentity,
        settings: NetworkSettings,
        report: Callable[[Report], None],
        counters: Counters,
    ) -> None:
        self.host = Host(identity.transport_seed)
        self.port = settings.port
        self.on_session: Callable[[LiveSession], None] = _do_nothing
        self.on_lost: Callable[[str], None] = _do_nothing
        self._identity = identity
        self._settings = settings
        self._report = report
        self._counters = counters
        self._instance = os.urandom(INSTANCE_BYTES)
        self.sessions = Sessions(self.host.peer_id, self._instance, settings)
        self._anteroom = Anteroom(counters)
        now = trio.current_time()
        self._arrivals = TokenBucket(ARRIVALS_PER_SECOND, 4 * ARRIVALS_PER_SECOND, now)
        self._refusals = TokenBucket(1, LOGGED_REFUSALS, now)
        self._next_session = 0

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve an inbound connection, unless there are too many."""
        if not self._arrivals.try_take(1, trio.current_time()):
            self._counters.add("refused", "too_many_arrivals")
            await trio.aclose_forcefully(stream)
            return
        raw = GuardedConnection(stream, is_initiator=False)
        endpoint = raw.get_remote_address()
        scope = trio.CancelScope()
        ticket = self._anteroom.enter(endpoint[0] if endpoint else "", scope)
        with scope:
            try:
                await self._serve(raw, None, partial(self._anteroom.leave, ticket))
            except HelloRefused as error:
                if self._refusals.try_take(1, trio.current_time()):
                    log.info("refused a peer", endpoint=endpoint, problem=str(error))
            except (RefusedByPeer, ConnectionError) as error:
                log.debug("no session came of a connection", endpoint=endpoint, problem=str(error))
            finally:
                self._anteroom.leave(ticket)
                await _close(raw)

    async def dial(self, address: Address) -> None:
        """Dial and serve the session until it ends.

        Raises `HelloRefused`, `RefusedByPeer`, `ConnectionError` when there was none.
        """
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.TooSlowError) as error:
            raise ConnectionError(f"cannot connect: {str(error) or 'too slow'}") from None
        raw = GuardedConnection(stream, is_initiator=True)
        try:
            await self._serve(raw, address.peer_id, _do_nothing)
        finally:
            await _close(raw)

    async def _serve(
        self, raw: GuardedConnection, peer_id: str | None, on_greeted: Callable[[], None]
    ) -> None:
        """Make a session of a connection and serve it; no byte of the peer's raises anything else.

        Raises `HelloRefused`, `RefusedByPeer`, and `ConnectionError` when no session came of it.
        """
        places: list[Place] = []
        problem: Exception | None = None
        try:
            with trio.move_on_after(HANDSHAKE_SECONDS) as deadline:
                proved, streams = await self.host.secure(raw, peer_id)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_multiplex, streams)
                    live = await self._greet(raw, proved, streams, places)
                    deadline.deadline = inf
                    on_greeted()
                    self._counters.add("greeted", "inbound" if peer_id is None else "dialled")
                    await live.run()
                    nursery.cancel_scope.cancel()
            if deadline.cancelled_caught:
                raise ConnectionError(f"no greeting within {HANDSHAKE_SECONDS:.0f} s")
        except* Exception as group:  # noqa: BLE001 - no remote byte may end the process
            # Together with a cancellation, which goes on; alone, an `except` would miss it.
            problem = self._explain(group)
        finally:
            for place in places:
                self.sessions.release(place)
                self.on_lost(place.peer_id)
        if problem is not None:
            raise problem

    def _explain(self, group: ExceptionGroup[Exception]) -> Exception:
        """Return what to say of a failed handshake, counted: a refusal, or no connection."""
        error = _find_cause(group)
        if isinstance(error, HelloRefused):
            self._counters.add("refused", error.refusal.name.lower())
            return error
        if isinstance(error, RefusedByPeer):
            self._counters.add("refused_us", error.refusal.name.lower())
            return error
        self._counters.add("refused", "handshake")
        return ConnectionError(f"{type(error).__name__}: {error}"[:200])

    async def _greet(
        self, raw: GuardedConnection, peer_id: str, streams: Multiplexer, places: list[Place]
    ) -> LiveSession:
        """Return the session; its place is in `places` as soon as the peer is admitted."""
        is_inbound = not raw.is_initiator

        def admit(hello: Hello) -> None:
            now = trio.current_time()
            places.append(self.sessions.admit(hello, peer_id, is_inbound=is_inbound, now=now))
            # Here, not at the end: the other side may be there first, and has much to tell.
            raw.release()

        greet = greet_as_acceptor if is_inbound else greet_as_dialler
        own = self._make_hello(raw)
        hello, lanes = await greet(streams, peer_id, own, self.host.peer_id, admit)
        if places[0].is_displaced:
            raise HelloRefused(Refusal.DUPLICATE)
        addresses = keep_dialable(hello.addresses, peer_id)
        live = LiveSession(
            self._describe(raw, peer_id, hello),
            PeerRecord(hello.key, peer_id, hello.binding, addresses),
            Link(raw, streams, lanes),
            self.sessions.find_limits(hello.key),
            self._report,
            self._counters,
        )
        self.sessions.fill(places[0], live)
        self.on_session(live)
        return live

    def _describe(self, raw: GuardedConnection, peer_id: str, hello: Hello) -> Session:
        self._next_session += 1
        host, port = raw.get_remote_address() or ("", 0)
        return Session(
            number=self._next_session,
            peer_id=peer_id,
            key=hello.key,
            instance=hello.instance,
            address=f"{format_endpoint(host, port)}/p2p/{peer_id}",
            agent=hello.agent,
            is_inbound=not raw.is_initiator,
        )

    def _make_hello(self, raw: GuardedConnection) -> Hello:
        """Return this node's hello; listening everywhere, it names the end the peer can see."""
        addresses = self._settings.advertised[:MAX_ADDRESSES]
        if not addresses:
            host = self._settings.host
            if is_unspecified(host):
                host = raw.get_local_host() or host
            addresses = (format_address(host, self.port, self.host.peer_id),)
        return Hello(
            chain_id=self._identity.chain_id,
            key=self._identity.key,
            binding=self._identity.binding,
            instance=self._instance,
            agent=self._identity.agent[:64],
            addresses=addresses,
        )


async def _multiplex(streams: Multiplexer) -> None:
    """Run a connection's streams; when that ends, so do they, and whoever reads them hears it."""
    try:
        await streams.run()
    except* Exception as group:  # noqa: BLE001 - no remote byte may end the process
        cause = _find_cause(group)
        log.debug("a connection ended", problem=f"{type(cause).__name__}: {cause}"[:200])


def _find_cause(error: Exception) -> Exception:
    """Return the first failure of several that ended each other."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _close(raw: GuardedConnection) -> None:
    with trio.CancelScope(shield=True):
        await raw.close()


def _do_nothing(*_: object) -> None:
    """Nobody waits to hear of it."""
