"""A disk that loses what was not made durable, tears what was being written, and reorders it."""

from random import Random

SECTOR_BYTES = 512


class SimulatedDisk:
    """One file: bytes that are durable, and bytes that only the cache holds."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
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
        """Keep an arbitrary beginning of what was in the cache, at times with holes.

        Sectors reach the disk in any order: what lies below the file's new end and was not
        written reads as zeros.
        """
        start = len(self.durable)
        end = start + random.randint(0, len(self._cached))
        torn = bytearray(self._cached[: end - start])
        if random.random() < 0.5:
            for sector in range(start // SECTOR_BYTES, end // SECTOR_BYTES + 1):
                if random.random() < 0.5:
                    low = max(start, sector * SECTOR_BYTES) - start
                    high = min(end, (sector + 1) * SECTOR_BYTES) - start
                    torn[low:high] = bytes(high - low)
        self.durable += bytes(torn)
        self._cached = b""

    def wipe(self) -> None:
        """Lose everything."""
        self.durable = self._cached = b""
