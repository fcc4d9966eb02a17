"""Whom this node dials: every address it was told or learnt, until a session with the peer stands.

Rule W2. One task for each peer id; it tries the peer's addresses in turn about twice a second, more
slowly once the peer has refused, and at once when a session was lost.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
import trio

from ledger.rejection import Rejected
from p2p.addresses import Address, parse_address
from p2p.counters import Counters
from p2p.handshake import RefusedByPeer
from p2p.hello import HelloRefused, Refusal
from p2p.limits import DIAL_SECONDS, MAX_KNOWN_ADDRESSES, REFUSED_DIAL_SECONDS
from p2p.sessions import Sessions

log = structlog.get_logger()

MAX_LEARNT_PER_KEY: Final = 8
JITTER: Final = 0.3
"""By how much of itself a pause varies, so that two nodes do not dial in step."""

STEADY_SECONDS: Final = 2.0
"""A session that lasted so long is dialled again at once; one that broke sooner after a pause."""

Connect = Callable[[Address], Awaitable[None]]
"""Dials and serves a session until it ends.

Raises `HelloRefused`, `RefusedByPeer`, or `ConnectionError` when there was none.
"""


class Target:
    """A peer id and where it may be reached; the value says which key's hello named an address."""

    def __init__(self) -> None:
        self.addresses: dict[Address, bytes | None] = {}
        self.wake = trio.Event()
        self.last_problem = ""


class Dialer:
    """Keeps dialling; `run` never returns."""

    def __init__(self, sessions: Sessions, connect: Connect, counters: Counters) -> None:
        self._sessions = sessions
        self._connect = connect
        self._counters = counters
        self._targets: dict[str, Target] = {}
        self._new_targets_send, self._new_targets = trio.open_memory_channel[str](
            MAX_KNOWN_ADDRESSES
        )

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            async for peer_id in self._new_targets:
                nursery.start_soon(self._keep_dialling, peer_id, self._targets[peer_id])

    def add(self, addresses: Iterable[str]) -> None:
        """Dial these from now on; what is no address, or too many, is counted and left out."""
        for text in addresses:
            self._add(text, None)

    def learn(self, addresses: Iterable[str], key: bytes) -> None:
        """Dial what an authority says are its addresses, while it is one."""
        known = sum(
            owner == key for target in self._targets.values() for owner in target.addresses.values()
        )
        for text in addresses:
            if known < MAX_LEARNT_PER_KEY and self._add(text, key):
                known += 1

    def forget_keys(self, is_authority: Callable[[bytes], bool]) -> None:
        """Dial no longer what was learnt from keys that ceased to be authorities'."""
        for target in self._targets.values():
            for address, key in tuple(target.addresses.items()):
                if key is not None and not is_authority(key):
                    del target.addresses[address]

    def wake(self, peer_id: str) -> None:
        """Dial a peer at once: its session is lost."""
        target = self._targets.get(peer_id)
        if target is not None:
            target.wake.set()

    def _add(self, text: str, key: bytes | None) -> bool:
        try:
            address = parse_address(text)
        except Rejected as error:
            log.warning("not an address", address=text[:200], problem=error.detail)
            return False
        target = self._targets.get(address.peer_id)
        if target is not None and address in target.addresses:
            return False
        if sum(len(each.addresses) for each in self._targets.values()) >= MAX_KNOWN_ADDRESSES:
            self._counters.add("dropped", "address_over_limit")
            return False
        if target is None:
            if len(self._targets) >= MAX_KNOWN_ADDRESSES:
                self._counters.add("dropped", "address_over_limit")
                return False
            target = self._targets[address.peer_id] = Target()
            self._new_targets_send.send_nowait(address.peer_id)
        target.addresses[address] = key
        target.wake.set()
        return True

    async def _keep_dialling(self, peer_id: str, target: Target) -> None:
        turn = 0
        if None not in target.addresses.values() and peer_id < self._sessions.own_peer_id:
            # Both have just heard of each other, and of two sessions the other's would be kept.
            await trio.sleep(DIAL_SECONDS)
        while True:
            pause = DIAL_SECONDS
            addresses = tuple(target.addresses)
            is_wanted = not self._sessions.has_peer(peer_id)
            if addresses and is_wanted and not self._is_banned(peer_id):
                turn += 1
                pause = await self._try(addresses[turn % len(addresses)], target)
            target.wake = trio.Event()
            with trio.move_on_after(pause * random.uniform(1 - JITTER, 1 + JITTER)):
                await target.wake.wait()

    async def _try(self, address: Address, target: Target) -> float:
        """Dial once, serve the session if there is one, and return how long to pause then."""
        pause, problem, is_refused = DIAL_SECONDS, "", False
        began = trio.current_time()
        try:
            await self._connect(address)
            self._counters.add("dialled", "session")
            if trio.current_time() - began > STEADY_SECONDS:
                pause = 0.0
        except ConnectionError as error:
            self._counters.add("dialled", "unreachable")
            problem = str(error)
        except (HelloRefused, RefusedByPeer) as error:
            self._counters.add("dialled", f"refused_{error.refusal.name.lower()}")
            if error.refusal is Refusal.SELF:
                target.addresses.pop(address, None)
            elif error.refusal is not Refusal.DUPLICATE:
                problem, is_refused = str(error), True
                pause = REFUSED_DIAL_SECONDS
        if problem and problem != target.last_problem:
            say = log.warning if is_refused else log.info
            say("no session with a peer", address=address.text, problem=problem)
        target.last_problem = problem
        return pause

    def _is_banned(self, peer_id: str) -> bool:
        return self._sessions.is_banned(peer_id, trio.current_time())
