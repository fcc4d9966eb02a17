"""Tells webhooks, beside the requests: one task reads the log, one for each webhook that waits.

So an address that is slow holds up no other. How many messages are under way is bounded for each
webhook, for each account and in all.
"""

import asyncio
import secrets
import traceback
from collections.abc import Iterable
from functools import partial
from typing import Final

import structlog

from coordinator import webhook_queue, webhooks, wire
from coordinator.coordinator import Coordinator
from coordinator.signals import UPDATES, WEBHOOKS
from coordinator.tables import DeliveryRow, WebhookRow
from coordinator.update_data import describe_block
from coordinator.updates import UpdateType
from coordinator.webhook_outcomes import Outcome, note_outcome
from coordinator.webhook_queue import PAGE, Round
from coordinator.webhook_signing import build_headers, open_secret
from outbound.errors import OutboundError
from outbound.post import post

log = structlog.get_logger(__name__)

AT_ONCE: Final = 4
"""Messages to one webhook."""
AT_ONCE_ACCOUNT: Final = 8
AT_ONCE_ALL: Final = 128
BURST: Final = 16
TELL_PAUSE: Final = 0.05
"""Seconds in which what comes is queued together."""
LOOK_SECONDS: Final = 5.0
"""The log is looked at so often even when nobody was woken."""
PLACE_SECONDS: Final = 60.0
"""How often the place in the log is kept while nothing in it is wanted."""
_JITTER_BITS: Final = 32


class Pace:
    """Lets so many through in a second, in the order that they come; `BURST` at once."""

    def __init__(self, per_second: int) -> None:
        self._gap = 1 / per_second
        self._next = 0.0

    async def wait(self) -> None:
        """Return when it is one's turn."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next, now - BURST * self._gap)
        self._next = turn + self._gap
        if turn > now:
            await asyncio.sleep(turn - now)


class WebhookSender:
    """One object, `run` once."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._limits = coordinator.settings.webhooks
        self._workers: dict[int, asyncio.Event] = {}
        """Webhooks that something waits for, and what wakes their tasks."""
        self._in_all = asyncio.Semaphore(AT_ONCE_ALL)
        self._pace = Pace(self._limits.per_second)
        self._in_account: dict[int, asyncio.Semaphore] = {}
        self._seq = 0
        self._height = 0
        self._stored = 0.0
        """When the place was kept, by the loop's clock."""

    async def run(self) -> None:
        """Tell webhooks until cancelled. What is cut short is sent again by the next run."""
        storage = self._coordinator.storage
        read_place = partial(webhook_queue.read_place, height=self._coordinator.followed)
        place = await storage.write(read_place)
        self._seq, self._height = place.seq, place.height
        waiting = await storage.read(webhook_queue.list_waiting)
        async with asyncio.TaskGroup() as group:
            self._wake(group, waiting)
            with self._coordinator.signals.listen(UPDATES, WEBHOOKS) as listener:
                while True:
                    due = self._coordinator.due_webhooks
                    self._coordinator.due_webhooks = set()
                    self._wake(group, due)
                    await self._read_log(group)
                    await self._read_blocks(group)
                    await listener.wait(LOOK_SECONDS)
                    await asyncio.sleep(TELL_PAUSE)

    async def _read_log(self, group: asyncio.TaskGroup) -> None:
        storage, loop = self._coordinator.storage, asyncio.get_running_loop()
        while True:
            found = await storage.read(partial(webhook_queue.look, after=self._seq))
            if found.is_wanted:
                work = partial(
                    webhook_queue.fan_out,
                    rows=found.rows,
                    height=self._height,
                    limits=self._limits,
                    now_ms=self._coordinator.get_now(),
                )
                self._wake(group, await storage.write(work))
                self._stored = loop.time()
            self._seq = found.seq
            if len(found.rows) < PAGE:
                break
        if loop.time() - self._stored > PLACE_SECONDS:
            keep = partial(webhook_queue.store_place, seq=self._seq, height=self._height)
            await storage.write(keep)
            self._stored = loop.time()

    async def _read_blocks(self, group: asyncio.TaskGroup) -> None:
        """Queue the last block that was followed: of many at once it stands for all."""
        storage, height = self._coordinator.storage, self._coordinator.followed
        if height <= self._height:
            return
        is_wanted = partial(webhooks.has_active, kind=UpdateType.BLOCK_CREATED)
        if await storage.read(is_wanted):
            for block in await self._coordinator.chain.read_blocks(height, 1):
                work = partial(
                    webhook_queue.fan_out_block,
                    block=describe_block(block),
                    time_ms=block.header.time,
                    seq=self._seq,
                    now_ms=self._coordinator.get_now(),
                )
                self._wake(group, await storage.write(work))
        self._height = height

    def _wake(self, group: asyncio.TaskGroup, row_ids: Iterable[int]) -> None:
        for row_id in row_ids:
            event = self._workers.get(row_id)
            if event is None:
                event = self._workers[row_id] = asyncio.Event()
                group.create_task(self._serve(row_id, event))
            event.set()

    async def _serve(self, row_id: int, event: asyncio.Event) -> None:
        """Send what waits for one webhook until nothing does."""
        storage = self._coordinator.storage
        while True:
            event.clear()
            now = self._coordinator.get_now()
            load = partial(
                webhook_queue.load_round, webhook_row_id=row_id, now_ms=now, at_once=AT_ONCE
            )
            found = await storage.read(load)
            if found is None:
                if event.is_set():
                    continue
                del self._workers[row_id]
                return
            if not found.due:
                assert found.next_ms is not None
                await _wait(event, (found.next_ms - now) / 1000)
            elif not any(await self._send_round(found)):
                # Whatever waits, an address that fails is left alone for a moment.
                await asyncio.sleep(self._limits.first_retry_seconds)

    async def _send_round(self, found: Round) -> list[bool]:
        sending = (self._attempt(found.webhook, delivery) for delivery in found.due)
        return await asyncio.gather(*sending)

    async def _attempt(self, webhook: WebhookRow, delivery: DeliveryRow) -> bool:
        """Send a message once and write down what came of it; tell whether it arrived."""
        account = self._in_account.setdefault(
            webhook.account_id, asyncio.Semaphore(AT_ONCE_ACCOUNT)
        )
        async with account, self._in_all:
            await self._pace.wait()
            outcome = await self._post(webhook, delivery)
        assert delivery.row_id is not None
        note = partial(
            note_outcome,
            row_id=delivery.row_id,
            outcome=outcome,
            limits=self._limits,
            now_ms=self._coordinator.get_now(),
            jitter=secrets.randbits(_JITTER_BITS),
        )
        await self._coordinator.storage.write(note)
        return outcome.is_success

    async def _post(self, webhook: WebhookRow, delivery: DeliveryRow) -> Outcome:
        now, key = self._coordinator.get_now(), self._coordinator.sealing_key
        signers = [open_secret(sealed, key) for sealed in webhooks.list_signers(webhook, now)]
        body, message_id = delivery.body.encode(), format_delivery_id(delivery)
        try:
            status = await post(
                webhook.url,
                body,
                build_headers(signers, message_id, now // 1000, body),
                total_seconds=self._limits.timeout_seconds,
                allow_loopback=self._coordinator.chain.is_dev,
            )
        except OutboundError as error:
            return Outcome(None, error.reason.value)
        except Exception as error:  # noqa: BLE001 - no remote byte may end the process
            # Not the error's text: it may quote the answer or the URL.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("webhook failed", error=type(error).__name__, trace=trace)
            return Outcome(None, "ERROR")
        return Outcome(status, None if 200 <= status < 300 else "BAD_STATUS")


def format_delivery_id(delivery: DeliveryRow) -> str:
    """Return a delivery's id: also that of its message, the same in every attempt."""
    return wire.DELIVERY_PREFIX + delivery.delivery_id.hex()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return
