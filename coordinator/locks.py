"""One lock for each key, for as long as somebody holds or awaits it."""

import asyncio
from weakref import WeakValueDictionary


class KeyedLocks:
    """Locks by key; a key that nobody uses costs nothing."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def get(self, key: bytes) -> asyncio.Lock:
        """Return the key's lock. Keep it referenced while it matters: `async with` does."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
