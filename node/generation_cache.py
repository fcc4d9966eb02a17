"""A bounded cache that forgets roughly what was used longest ago."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class GenerationCache(Generic[K, V]):
    """Two generations of at most `size` items each; what is used moves to the young one.

    Cheaper than an exact order of use: a hit on a young item writes nothing.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._young or key in self._old

    def get(self, key: K) -> V | None:
        """Return the item, or None when it is not cached."""
        if key in self._young:
            return self._young[key]
        if key not in self._old:
            return None
        value = self._old[key]
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep an item as the one used last."""
        self._young[key] = value
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
