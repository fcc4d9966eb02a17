"""The transport itself, on trio: listens, dials, shakes hands, serves sessions, obeys orders.

It talks to the node by the records of p2p/bridge.py alone. Every connection is a task whose
failures end with it (rule W10).
"""

import os
from collections.abc import Callable
from functools import partial
from typing import assert_never

import structlog
import trio

from p2p.addresses import Address, format_address, format_endpoint, is_unspecified
from p2p.bridge import (
    AddAddresses,
    Announce,
    Answer,
    Answered,
    Ask,
    Close,
    Disconnect,
    Failed,
    Forget,
    Measured,
    Order,
    Report,
    Send,
    SetAuthorities,
    Started,
    Taken,
)
from p2p.counters import Counters
from p2p.dialer import Dialer
from p2p.guard import Anteroom, GuardedConnection
from p2p.handshake import RefusedByPeer, greet_as_acceptor, greet_as_dialler
from p2p.hello import MAX_ADDRESSES, Hello, HelloRefused, Refusal, find_addresses
from p2p.host import Host, open_listeners
from p2p.interface import NetworkIdentity, NetworkSettings, Session
from p2p.limits import (
    CONNECT_SECONDS,
    HANDSHAKE_SECONDS,
    PING_SECONDS,
)
from p2p.multiplexer import Multiplexer
from p2p.session import GOODBYE_SECONDS, LiveSession
from p2p.sessions import Place, Sessions

log = structlog.get_logger()

INSTANCE_BYTES = 16


class Transport:
    """One node's end of the network."""

    def __init__(
        self,
        identity: NetworkIdentity,
        settings: NetworkSettings,
        report: Callable[[Report], None],
    ) -> None:
        self._identity = identity
        self._settings = settings
        self._report = report
        self._counters = Counters()
        self._host = Host(identity.transport_seed)
        self._instance = os.urandom(INSTANCE_BYTES)
        self._sessions = Sessions(self._host.peer_id, self._instance, settings)
        self._anteroom = Anteroom(self._counters)
        self._dialer = Dialer(self._sessions, self._dial, self._counters)
        self._port = settings.port
        self._next_session = 0
        self._closed = trio.Event()

    async def run(self) -> None:
        """Serve until ordered to close. What goes wrong is reported as `Failed`."""
        try:
            listeners = await open_listeners(self._settings.host, self._settings.port)
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            self._report(Failed(f"cannot listen on {where}: {error.strerror or error}"))
            return
        self._port = int(listeners[0].socket.getsockname()[1])
        address = format_address(self._settings.host, self._port, self._host.peer_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._welcome, listeners)
            nursery.start_soon(self._dialer.run)
            nursery.start_soon(self._tick)
            self._dialer.add(self._settings.bootstrap)
            self._report(Started((address,)))
            await self._closed.wait()
            await self._say_goodbye()
            nursery.cancel_scope.cancel()

    def obey(self, order: Order) -> None:
        """Carry out an order; those for sessions that are over do nothing but give room back."""
        match order:
            case Announce():
                self._counters.add("dropped", "no_gossip")
            case SetAuthorities(keys):
                self._sessions.set_authorities(keys)
                self._dialer.forget_keys(self._sessions.is_authority)
            case AddAddresses(addresses):
                self._dialer.add(addresses)
            case Close():
                self._closed.set()
            case _:
                live = self._sessions.get(order.session)
                if live is None:
                    self._return_room(order)
                else:
                    self._obey_for(live, order)

    def _obey_for(
        self, live: LiveSession, order: Send | Ask | Forget | Answer | Taken | Disconnect
    ) -> None:
        match order:
            case Send(_, lane, data):
                live.send(lane, data)
            case Ask(_, question, data):
                live.ask(question, data)
            case Forget(_, question):
                live.forget(question)
            case Answer(_, question, data):
                live.answer(question, data)
            case Taken(_, lane, cost):
                live.take(lane, cost)
            case Disconnect(_, reason, ban_seconds):
                peer = live.session
                if ban_seconds > 0:
                    until = trio.current_time() + ban_seconds
                    self._sessions.ban(peer.key, peer.peer_id, until)
                live.end("disconnected", reason)
            case _ as never:
                assert_never(never)

    def _return_room(self, order: Send | Ask | Forget | Answer | Taken | Disconnect) -> None:
        if isinstance(order, Ask):
            self._report(Answered(order.session, order.question, None, "the session is over"))
        if isinstance(order, Send):
            self._counters.add("dropped", "session_over")

    async def _welcome(self, stream: trio.SocketStream) -> None:
        """Serve an inbound connection."""
        raw = GuardedConnection(stream, is_initiator=False)
        endpoint = raw.get_remote_address()
        scope = trio.CancelScope()
        ticket = self._anteroom.enter(endpoint[0] if endpoint else "", scope)
        with scope:
            try:
                await self._serve(raw, None, partial(self._anteroom.leave, ticket))
            except HelloRefused as error:
                self._counters.add("refused", error.refusal.name.lower())
                log.info("refused a peer", endpoint=endpoint, problem=str(error))
            except (RefusedByPeer, ConnectionError) as error:
                log.debug("no session came of a connection", endpoint=endpoint, problem=str(error))
            finally:
                self._anteroom.leave(ticket)
                with trio.CancelScope(shield=True):
                    await raw.close()

    async def _dial(self, address: Address) -> None:
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
            await self._serve(raw, address.peer_id, lambda: None)
        finally:
            with trio.CancelScope(shield=True):
                await raw.close()

    async def _serve(
        self, raw: GuardedConnection, peer_id: str | None, on_session: Callable[[], None]
    ) -> None:
        """Make a session of a connection and serve it; no byte of the peer's raises anything else.

        Raises `HelloRefused`, `RefusedByPeer`, and `ConnectionError` when no session came of it.
        """
        places: list[Place] = []
        try:
            with trio.move_on_after(HANDSHAKE_SECONDS) as deadline:
                proved, streams = await self._host.secure(raw, peer_id)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._multiplex, streams)
                    live = await self._greet(raw, proved, streams, places)
                    deadline.deadline = float("inf")
                    on_session()
                    await live.run()
                    nursery.cancel_scope.cancel()
            if deadline.cancelled_caught:
                self._counters.add("refused", "too_slow")
                raise ConnectionError(f"no greeting within {HANDSHAKE_SECONDS:.0f} s")
        except Exception as error:  # noqa: BLE001 - no remote byte may end the process
            raise self._explain(error) from None
        finally:
            for place in places:
                self._sessions.release(place)
                self._dialer.wake(place.peer_id)

    def _explain(self, error: Exception) -> Exception:
        """Return what to say of a failed handshake: one refusal, or that there is no connection."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, HelloRefused | RefusedByPeer | ConnectionError):
            return error
        self._counters.add("refused", "handshake")
        return ConnectionError(f"{type(error).__name__}: {error}"[:200])

    async def _multiplex(self, streams: Multiplexer) -> None:
        try:
            await streams.run()
        except Exception as error:  # noqa: BLE001 - no remote byte may end the process
            log.debug("a connection ended", problem=f"{type(error).__name__}: {error}"[:200])

    async def _greet(
        self, raw: GuardedConnection, peer_id: str, streams: Multiplexer, places: list[Place]
    ) -> LiveSession:
        is_inbound = not raw.is_initiator

        def admit(hello: Hello) -> None:
            now = trio.current_time()
            places.append(self._sessions.admit(hello, peer_id, is_inbound=is_inbound, now=now))

        greet = greet_as_acceptor if is_inbound else greet_as_dialler
        own = self._make_hello(raw)
        hello, lanes = await greet(streams, peer_id, own, self._host.peer_id, admit)
        if places[0].is_displaced:
            raise HelloRefused(Refusal.DUPLICATE)
        raw.release()
        self._next_session += 1
        host, port = raw.get_remote_address() or ("", 0)
        session = Session(
            number=self._next_session,
            peer_id=peer_id,
            key=hello.key,
            instance=hello.instance,
            address=f"{format_endpoint(host, port)}/p2p/{peer_id}",
            agent=hello.agent,
            is_inbound=is_inbound,
        )
        limits, pool = self._sessions.find_limits(hello.key)
        live = LiveSession(session, raw, streams, lanes, limits, pool, self._report, self._counters)
        self._sessions.fill(places[0], live)
        if self._sessions.is_authority(hello.key):
            self._dialer.learn(find_addresses(hello, peer_id), hello.key)
        return live

    def _make_hello(self, raw: GuardedConnection) -> Hello:
        """Return this node's hello; listening everywhere, it names the end the peer can see."""
        addresses = self._settings.advertised[:MAX_ADDRESSES]
        if not addresses:
            host = self._settings.host
            if is_unspecified(host):
                host = raw.get_local_host() or host
            addresses = (format_address(host, self._port, self._host.peer_id),)
        return Hello(
            chain_id=self._identity.chain_id,
            key=self._identity.key,
            binding=self._identity.binding,
            instance=self._instance,
            agent=self._identity.agent[:64],
            addresses=addresses,
        )

    async def _tick(self) -> None:
        """Once a second: ping every peer, end the dead sessions, and tell the node the figures."""
        while True:
            await trio.sleep(PING_SECONDS)
            now = trio.current_time()
            for live in self._sessions:
                live.check(now)
            peers = tuple(live.measure(now) for live in self._sessions)
            self._report(Measured(peers, self._counters.get_snapshot()))

    async def _say_goodbye(self) -> None:
        ending = tuple(self._sessions)
        for live in ending:
            live.end("stopping", "this node stops")
        with trio.move_on_after(GOODBYE_SECONDS):
            for live in ending:
                await live.finished.wait()
