"""The transport in a thread of its own beside the event loop: what `transport = "thread"` means.

Only bytes cross, in lots: the side that is busy is woken once for all that waits, so that a
thousand frames cost few wake-ups. If the thread dies, the node hears `NetworkFailed`, no more.
"""

import asyncio
import threading
from collections.abc import Callable
from traceback import format_exception
from typing import Final

import structlog
import trio

from p2p.bridge import Failed, Order, Report
from p2p.front import BridgedNetwork
from p2p.interface import NetworkIdentity, NetworkSettings
from p2p.transport import Transport

log = structlog.get_logger()

STOP_SECONDS: Final = 3.0


class ThreadEngine:
    """Runs a transport on trio in a thread."""

    def __init__(self, identity: NetworkIdentity, settings: NetworkSettings) -> None:
        self._identity = identity
        self._settings = settings
        self._lock = threading.Lock()
        self._orders: list[Order] = []
        self._reports: list[Report] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._transport: Transport | None = None
        self._front: BridgedNetwork | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        self._ended = asyncio.Event()

    async def start(self, front: BridgedNetwork) -> None:
        """Start the thread."""
        self._front = front
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="p2p", daemon=True).start()

    def post(self, order: Order) -> None:
        """Pass an order to the thread, waking it if it has none yet."""
        with self._lock:
            if self._is_over:
                return
            self._orders.append(order)
            is_first = len(self._orders) == 1
            token = self._token
        if is_first and token is not None:
            self._wake_thread(token)

    async def stop(self) -> None:
        """Wait for the thread; one that hangs is left behind and ends with the process."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            log.warning("the network's thread does not end", seconds=STOP_SECONDS)

    def _run(self) -> None:
        reason = "the transport has ended"
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - the node is told, and goes on
            reason = f"the transport died: {type(error).__name__}: {error}"
            # As text: a log that prints the frames' variables would print the transport's seed.
            log.error("the network's thread died", traceback="".join(format_exception(error)))
        with self._lock:
            self._is_over = True
        self._report(Failed(reason))
        self._call_loop(self._ended.set)

    async def _main(self) -> None:
        self._transport = Transport(self._identity, self._settings, self._report)
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
        self._obey()
        await self._transport.run()

    def _wake_thread(self, token: trio.lowlevel.TrioToken) -> None:
        try:
            token.run_sync_soon(self._obey)
        except trio.RunFinishedError:
            log.debug("an order after the end of the network")

    def _obey(self) -> None:
        with self._lock:
            orders, self._orders = self._orders, []
        assert self._transport is not None
        for order in orders:
            self._transport.obey(order)

    def _report(self, report: Report) -> None:
        with self._lock:
            self._reports.append(report)
            is_first = len(self._reports) == 1
        if is_first:
            self._call_loop(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            reports, self._reports = self._reports, []
        assert self._front is not None
        self._front.deliver(reports)

    def _call_loop(self, function: Callable[[], object]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            log.debug("the event loop ended before the network")


class ThreadNetwork(BridgedNetwork):
    """`Network` in a thread."""

    def __init__(self, identity: NetworkIdentity, settings: NetworkSettings) -> None:
        super().__init__(identity, ThreadEngine(identity, settings))
