"""The spool as the event loop sees it: its calls run in a thread, one after the other."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from miner.spool import Spool
from miner.work import Work


class Records:
    """Writes of one claim keep their order; each is durable when it returns."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")

    async def save(self, work: Work) -> None:
        """Make a claim's record durable. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._spool.save, work)

    async def remove(self, job: bytes) -> None:
        """Forget a claim that is over."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._spool.remove, job)

    async def load(self) -> list[Work]:
        """Return every claim that is not over."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._spool.load)

    def close(self) -> None:
        """Wait for what is being written, and let the folder go."""
        self._thread.shutdown()
        self._spool.close()
