"""Every entry of one kind in the state, found without an index of its own.

Entries keep the leaf that they were created at and are never removed, so the keys found once stay
true: each look reads only the leaves that came since the last.
"""

import asyncio
from bisect import bisect_left
from itertools import islice
from typing import Final

from node.chain_store import ChainStore

LEAVES_PER_STEP: Final = 4_096
"""How many leaves are looked through in one turn of the event loop: some milliseconds."""


class EntryDirectory:
    """The keys that begin with a prefix, in the order of their creation. On the event loop."""

    def __init__(
        self, store: ChainStore, prefix: bytes, leaves_per_step: int = LEAVES_PER_STEP
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._leaves_per_step = leaves_per_step
        self._next_leaf = 0
        self._leaves: list[int] = []
        self._keys: list[bytes] = []
        self._turn = asyncio.Lock()

    async def list_keys(self, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the newest (leaf, key without the prefix) pairs below a leaf."""
        async with self._turn:
            await self._catch_up()
        end = len(self._leaves) if before is None else bisect_left(self._leaves, before)
        return [
            (self._leaves[place], self._keys[place])
            for place in range(end - 1, max(-1, end - 1 - limit), -1)
        ]

    async def _catch_up(self) -> None:
        state = self._store.state
        while self._next_leaf < state.get_leaf_count():
            # Not in a thread: here no commit comes in between, so the entries are of one state.
            for leaf, key, _ in islice(
                state.iterate_entries(self._next_leaf), self._leaves_per_step
            ):
                if key.startswith(self._prefix):
                    self._leaves.append(leaf)
                    self._keys.append(key.removeprefix(self._prefix))
                self._next_leaf = leaf + 1
            await asyncio.sleep(0)
