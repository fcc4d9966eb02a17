"""A disk that loses what was not made durable, and tears what was being written."""

from random import Random


class SimulatedDisk:
    """One file: bytes that are durable, and bytes that only the cache holds."""

    def __init__(self) -> None:
        self.durable = b""
        self._cached = b""

    def append(self, data: bytes) -> None:
        """Write behind the end, into the cache."""
        self._cached += data

    def sync(self) -> None:
        """Make everything durable."""
        self.durable += self._cached
        self._cached = b""

    def replace(self, data: bytes) -> None:
        """Put a new file in the place of this one, durably and at once (write, sync, rename)."""
        self.durable = data
        self._cached = b""

    def crash(self, random: Random) -> None:
        """Keep an arbitrary beginning of what was in the cache, at times as zeros."""
        torn = self._cached[: random.randint(0, len(self._cached))]
        if torn and random.random() < 0.3:
            torn = bytes(len(torn))
        self.durable += torn
        self._cached = b""

    def wipe(self) -> None:
        """Lose everything."""
        self.durable = self._cached = b""
