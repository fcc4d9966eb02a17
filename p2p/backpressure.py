"""How a reader waits for the node instead of growing memory (rule W8)."""

import trio

from p2p.limits import LONG_FRAME_BYTES


class Backlog:
    """Bytes of one stream that were reported and that the node has not taken yet."""

    def __init__(self) -> None:
        self.used = 0
        self._limit = 0
        self._room = trio.Event()

    def set_limit(self, limit: int) -> None:
        """Let the stream be read while no more than this is with the node."""
        self._limit = limit
        self._room.set()

    def add(self, cost: int) -> None:
        """Count a frame that is reported."""
        self.used += cost

    def release(self, cost: int) -> None:
        """Note what the node has taken."""
        self.used -= cost
        if self.used <= self._limit:
            self._room.set()

    async def wait_for_room(self) -> None:
        """Return when the node has taken enough."""
        while self.used > self._limit:
            self._room = trio.Event()
            await self._room.wait()


class Pool:
    """Memory for long frames that are still coming, shared by all peers of a kind."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: list[tuple[int, trio.Event]] = []

    async def reserve(self, size: int) -> int:
        """Wait until a frame of this size may be gathered; return what was taken from the pool."""
        if size <= LONG_FRAME_BYTES:
            return 0
        if self._waiting or size > self._free:
            turn = trio.Event()
            entry = (size, turn)
            self._waiting.append(entry)
            try:
                await turn.wait()
            except trio.Cancelled:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                else:
                    self.release(size)
                raise
            return size
        self._free -= size
        return size

    def release(self, size: int) -> None:
        """Give back what `reserve` returned."""
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.pop(0)
            self._free -= size
            turn.set()
