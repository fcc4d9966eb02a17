"""The transport itself, on trio: listens, dials, serves sessions, and obeys the node's orders.

It talks to the node by the records of p2p/bridge.py alone.
"""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import trio

from p2p.addresses import format_address
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
from p2p.directory import Directory, PeerRecord, keep_dialable
from p2p.gossip import Gossip
from p2p.host import open_listeners
from p2p.interface import NetworkIdentity, NetworkSettings
from p2p.limits import PING_SECONDS
from p2p.reception import Reception
from p2p.session import GOODBYE_SECONDS, LiveSession

SessionOrder = Send | Ask | Forget | Answer | Taken | Disconnect


class Transport:
    """One node's end of the network."""

    def __init__(
        self,
        identity: NetworkIdentity,
        settings: NetworkSettings,
        report: Callable[[Report], None],
    ) -> None:
        self._settings = settings
        self._report = report
        self._counters = Counters()
        self._reception = Reception(identity, settings, report, self._counters)
        self._sessions = self._reception.sessions
        self._directory = Directory(identity.chain_id, self._sessions.is_authority)
        self._dialer = Dialer(self._sessions, self._reception.dial, self._counters)
        self._gossip = Gossip(self._reception.host, self._counters, report)
        self._reception.on_session = self._meet
        self._reception.on_lost = self._dialer.wake
        self._closed = trio.Event()

    async def run(self) -> None:
        """Serve until ordered to close. What goes wrong at the start is reported as `Failed`."""
        host, port = self._settings.host, self._settings.port
        try:
            listeners = await open_listeners(host, port)
        except OSError as error:
            problem = error.strerror or str(error)
            self._report(Failed(f"cannot listen on {host}:{port}: {problem}"))
            return
        self._reception.port = int(listeners[0].socket.getsockname()[1])
        address = format_address(host, self._reception.port, self._reception.host.peer_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._reception.welcome, listeners)
            nursery.start_soon(self._dialer.run)
            nursery.start_soon(self._gossip.run)
            nursery.start_soon(self._tick)
            self._dialer.add(self._settings.bootstrap)
            self._report(Started((address,)))
            await self._closed.wait()
            await self._say_goodbye()
            nursery.cancel_scope.cancel()

    def obey(self, order: Order) -> None:
        """Carry out an order."""
        match order:
            case Announce(data):
                self._gossip.announce(data)
            case SetAuthorities(keys):
                self._set_authorities(keys)
            case AddAddresses(addresses):
                self._dialer.add(addresses)
            case Close():
                self._closed.set()
            case _:
                self._obey_for_session(order)

    def _obey_for_session(self, order: SessionOrder) -> None:
        live = self._sessions.get(order.session)
        if live is None:
            if isinstance(order, Ask):
                reason = "the session is over"
                self._report(Answered(order.session, order.question, None, reason))
            elif isinstance(order, Send):
                self._counters.add("dropped", "session_over")
            return
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
                if ban_seconds > 0:
                    until = trio.current_time() + ban_seconds
                    self._sessions.ban(live.session.key, live.session.peer_id, until)
                live.end("disconnected", reason)
            case _ as never:
                assert_never(never)

    def _meet(self, live: LiveSession) -> None:
        """A session stands: what it says of itself is learnt, and passed on if it may be."""
        peer_id, streams = live.session.peer_id, live.streams
        live.companions = (
            partial(self._gossip.serve_peer, peer_id, streams),
            partial(self._gossip.serve_streams, peer_id, streams),
        )
        live.on_record = self._learn
        self._learn(live.record)
        self._introduce(live)

    def _learn(self, record: PeerRecord) -> None:
        """Keep what is said of a key, and dial it if it is an authority's."""
        if self._directory.note(record) and self._sessions.is_authority(record.key):
            self._dial_authority(record)

    def _dial_authority(self, record: PeerRecord) -> None:
        self._dialer.learn(keep_dialable(record.addresses, record.peer_id), record.key)

    def _introduce(self, live: LiveSession) -> None:
        """Tell a peer of the authorities here, and, if it is one, all of them of it."""
        is_authority = self._sessions.is_authority(live.session.key)
        for other in self._sessions:
            if other.session.peer_id == live.session.peer_id:
                continue
            if self._sessions.is_authority(other.session.key):
                live.tell(other.record)
            if is_authority:
                other.tell(live.record)

    def _set_authorities(self, keys: frozenset[bytes]) -> None:
        added = self._sessions.set_authorities(keys)
        self._dialer.forget_keys(self._sessions.is_authority)
        for key in added:
            record = self._directory.find(key)
            if record is not None:
                self._dial_authority(record)
        for live in self._sessions:
            if live.session.key in added:
                self._introduce(live)

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
