"""All WebSockets of a node: reads the log of updates once and tells each of them its part.

Three tasks, however many sockets there are: one tells what is new, one brings those up that are
behind, one looks after all of them every second. An update is written as bytes once for all who
hear it. Whoever reads too slowly for what is new is told it from the log, at its own pace: the log
is the queue, and what waits in memory for one reader stays small.
"""

import asyncio
import resource
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import structlog
from aiohttp import web
from sqlalchemy import Connection

from coordinator import updates
from coordinator.coordinator import Coordinator
from coordinator.http.live_messages import Close, Gap, wrap, write
from coordinator.http.live_socket import LiveSocket
from coordinator.signals import UPDATES
from coordinator.updates import PUBLIC, Update, UpdateType

log = structlog.get_logger(__name__)

PAGE: Final = 500
"""Rows read at once."""
AT_ONCE: Final = 100
"""Messages sent before others have their turn on the loop."""
TELL_PAUSE: Final = 0.02
"""Seconds in which what comes is told together."""
LOOK_SECONDS: Final = 2.0
"""The log is looked at so often even when nobody was woken."""
CHECK_SECONDS: Final = 1.0
CATCH_UP_PAGE: Final = 200
CATCH_UP_PAUSE: Final = 0.05
"""Seconds before those that are behind, and had no room, are looked at again."""


class LiveHub:
    """Knows the sockets. `run` and `close` belong to the application that serves them."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._limits = coordinator.settings.live
        self._accounts: dict[int, set[LiveSocket]] = {}
        self._keys: Counter[int] = Counter()
        self._seq = 0
        """The last row that was told."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._room = min(self._limits.sockets, files // 2)
        self._unknown: set[LiveSocket] = set()
        self._behind: set[LiveSocket] = set()
        """Those that are told from the log."""
        self._is_somebody_behind = asyncio.Event()

    def is_full(self, is_keyless: bool) -> bool:
        """Tell whether another socket finds no place; those that show no key have few."""
        unknown = len(self._unknown)
        if is_keyless and unknown >= self._limits.unknown_sockets:
            return True
        return self._coordinator.open_sockets + unknown >= self._room

    def has_room(self, key_id: int) -> bool:
        """Tell whether a key may have another socket."""
        return self._keys[key_id] < self._limits.sockets_per_key

    def meet(self, socket: LiveSocket) -> None:
        """Note a socket whose account is not known yet."""
        self._unknown.add(socket)

    def add(self, socket: LiveSocket) -> None:
        """Note a socket that has shown its key."""
        assert socket.principal is not None
        self._unknown.discard(socket)
        self._accounts.setdefault(socket.principal.account_id, set()).add(socket)
        self._keys[socket.principal.key_id] += 1
        self._coordinator.open_sockets += 1

    def remove(self, socket: LiveSocket) -> None:
        """Forget a socket."""
        self._behind.discard(socket)
        self._unknown.discard(socket)
        if socket.principal is None:
            return
        account, key = socket.principal.account_id, socket.principal.key_id
        own = self._accounts.get(account, set())
        if socket not in own:
            return
        own.discard(socket)
        if not own:
            del self._accounts[account]
        self._keys[key] -= 1
        if not self._keys[key]:
            del self._keys[key]
        self._coordinator.open_sockets -= 1

    def _has_sockets(self) -> bool:
        return self._coordinator.open_sockets > 0

    async def follow(self, socket: LiveSocket, since: int | None, *answers: msgspec.Struct) -> None:
        """Answer a subscription; what comes behind `since`, or from now on, follows.

        The answers stand in front of all that it brings.
        """
        self.mute(socket)
        if since is None:
            # Whatever has not been told yet is told to this socket as well.
            socket.cursor = self._seq
            for answer in answers:
                await socket.say(answer)
            socket.is_live = socket.code is None
            return
        oldest, newest = await self._coordinator.storage.read(updates.read_bounds)
        socket.cursor = min(since, newest)
        for answer in answers:
            await socket.say(answer)
        if since and (since < oldest or since > newest):
            is_expired = since < oldest
            await socket.say(Gap(since, oldest, "expired" if is_expired else "unknown"))
        self._fall_behind(socket)

    def mute(self, socket: LiveSocket) -> None:
        """Tell a socket nothing more until `follow`."""
        socket.is_live = False
        self._behind.discard(socket)

    def _fall_behind(self, socket: LiveSocket) -> None:
        socket.is_live = False
        socket.note_progress()
        self._behind.add(socket)
        self._is_somebody_behind.set()

    async def _catch_up(self) -> None:
        """Bring sockets to where what is new is told, each as far as it reads."""
        while True:
            await self._is_somebody_behind.wait()
            is_moving = False
            for socket in list(self._behind):
                is_moving |= await self._advance(socket)
            if not self._behind:
                self._is_somebody_behind.clear()
            await asyncio.sleep(0 if is_moving else CATCH_UP_PAUSE)

    async def _advance(self, socket: LiveSocket) -> bool:
        """Tell a socket what comes next in the log, if it has room; tell whether there was any."""
        if socket.code is not None or socket.principal is None:
            self._behind.discard(socket)
            return False
        if not socket.is_keeping_up:
            if socket.count_stalled_seconds() > self._limits.catch_up_seconds:
                socket.cut(Close.SLOW_READER)
            return False
        after, account = socket.cursor, socket.principal.account_id
        turn = partial(_read_page, account=account, after=after)
        rows, last = await self._coordinator.storage.read(turn)
        if socket not in self._behind or socket.cursor != after:
            return True  # another subscription came meanwhile
        await self._tell_page(socket, rows, last)
        socket.note_progress()
        return True

    async def _tell_page(self, socket: LiveSocket, rows: list[Update], last: int) -> None:
        for row in rows:
            if socket.wants(row.type, row.job):
                message = _write_row(row)
                if not socket.has_room(message):
                    return
                await socket.send(message)
            socket.cursor = row.seq
        if len(rows) < CATCH_UP_PAGE:
            socket.cursor = max(socket.cursor, last)
            if self._seq <= socket.cursor:
                self._behind.discard(socket)
                socket.is_live = socket.code is None

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Tell and look after sockets for as long as the application lives."""
        works = (self._tell, self._catch_up, self._look_after)
        tasks = [asyncio.create_task(self._keep_up(work)) for work in works]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def close(self, _app: web.Application) -> None:
        """End all sockets: the node stops."""
        for socket in self._list_all():
            socket.cut(Close.GOING_AWAY)
        # The frames leave with the loop's next turns.
        await asyncio.sleep(TELL_PAUSE)

    def _list_all(self) -> list[LiveSocket]:
        return [*self._list_hearing(PUBLIC), *self._unknown]

    async def _keep_up(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the one place where a bug ends the sockets
                trace = "".join(traceback.format_tb(error.__traceback__))
                log.error("live updates failed", error=type(error).__name__, trace=trace)
                for socket in self._list_all():
                    socket.cut(Close.INTERNAL)
                await asyncio.sleep(CHECK_SECONDS)

    async def _tell(self) -> None:
        passing, signals = self._coordinator.passing, self._coordinator.signals
        storage = self._coordinator.storage
        _, self._seq = await storage.read(updates.read_bounds)
        with signals.listen(UPDATES) as listener:
            passing.listen(listener.wake)
            try:
                while True:
                    await listener.wait(LOOK_SECONDS)
                    await asyncio.sleep(TELL_PAUSE)
                    await self._tell_rows()
                    await self._tell_passing()
            finally:
                passing.listen(None)

    async def _tell_rows(self) -> None:
        storage = self._coordinator.storage
        if not self._has_sockets():
            _, last = await storage.read(updates.read_bounds)
            # Whoever came meanwhile may stand before that.
            self._seq = self._seq if self._has_sockets() else last
            return
        while True:
            rows = await storage.read(partial(updates.read, after=self._seq, limit=PAGE))
            for row in rows:
                await self._tell_row(row)
                self._seq = row.seq
            if len(rows) < PAGE:
                return

    async def _tell_row(self, row: Update) -> None:
        message = None
        for number, socket in enumerate(self._list_hearing(row.account_id)):
            await _give_way(number)
            if not socket.is_live or socket.cursor >= row.seq:
                continue
            if socket.wants(row.type, row.job):
                message = message or _write_row(row)
                if not socket.has_room(message):
                    self._fall_behind(socket)
                    continue
                await socket.send(message)
            socket.cursor = row.seq

    async def _tell_passing(self) -> None:
        jobs, blocks = self._coordinator.passing.take()
        for job, (account, progress) in jobs.items():
            await self._tell_once(account, UpdateType.JOB_UPDATE, job, progress)
        for block in blocks:
            await self._tell_once(PUBLIC, UpdateType.BLOCK_CREATED, None, block)

    async def _tell_once(
        self, account: int, kind: UpdateType, job: bytes | None, data: msgspec.Struct
    ) -> None:
        message = write(self._seq, data)
        for number, socket in enumerate(self._list_hearing(account)):
            await _give_way(number)
            # Of what is told once, a reader without room hears nothing.
            if socket.is_live and socket.wants(kind, job) and socket.has_room(message):
                await socket.send(message)

    def _list_hearing(self, account: int) -> list[LiveSocket]:
        if account != PUBLIC:
            return list(self._accounts.get(account, ()))
        return [socket for sockets in self._accounts.values() for socket in sockets]

    async def _look_after(self) -> None:
        loop, keys = asyncio.get_running_loop(), self._coordinator.keys
        limits = self._limits
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = loop.time()
            for socket in self._list_all():
                if socket.principal is not None and keys.is_revoked(socket.principal.key_id):
                    socket.cut(Close.KEY_REVOKED)
                elif now - socket.heard_at > limits.silent_seconds:
                    socket.cut(Close.SILENT)
                elif now - max(socket.heard_at, socket.pinged_at) > limits.ping_seconds:
                    await socket.ping()


def _read_page(connection: Connection, account: int, after: int) -> tuple[list[Update], int]:
    """Return an account's next rows, and up to where the log was looked at."""
    rows = updates.read_account(connection, account, after, CATCH_UP_PAGE)
    return rows, updates.read_bounds(connection)[1]


def _write_row(row: Update) -> bytes:
    return wrap(row.type, row.seq, row.data.encode())


async def _give_way(number: int) -> None:
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
