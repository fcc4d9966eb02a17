"""Wake-ups inside the process: who waits for a job, a transaction or new work sleeps until told."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

QUEUE: Final = "queue"
"""A job may have become claimable."""
FOLLOWED: Final = "followed"
"""The rows hold the events of another block."""

UPDATES: Final = "updates"
"""The log of updates is longer."""


WEBHOOKS: Final = "webhooks"
"""`Coordinator.due_webhooks` names a webhook that something waits for."""


def job_topic(job: bytes) -> str:
    """Return the topic of everything that changes one job."""
    return f"job:{job.hex()}"


class Listener:
    """Wakes when one of its topics is announced. Make it before looking at the state."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when woken since the last call, False after `seconds`."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Signals:
    """Topics and their listeners."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    def announce(self, *topics: str) -> None:
        """Wake everybody who listens to a topic."""
        for topic in topics:
            for listener in self._listeners.get(topic, ()):
                listener.wake()

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Listener]:
        """Yield a listener for as long as the block runs."""
        listener = Listener()
        for topic in topics:
            self._listeners.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            for topic in topics:
                listeners = self._listeners[topic]
                listeners.discard(listener)
                if not listeners:
                    del self._listeners[topic]
