"""Reading and writing state: a view with a few reads, and an overlay of writes (rule S1).

`Changes` over a view is itself a view, so the same object serves commit, mempool, block building
and replay, and nobody copies the world.
"""

from collections.abc import Iterator
from typing import Protocol

from ledger import codec, state_tree
from ledger.entries import (
    AUTHORITIES_KEY,
    TOTALS_KEY,
    Account,
    Authorities,
    Entry,
    Job,
    Miner,
    Offer,
    Totals,
    account_key,
    compute_due_time,
    job_key,
    miner_key,
    offer_key,
)


class StateView(Protocol):
    """The state after some block."""

    def get(self, key: bytes) -> Entry | None:
        """Return the entry at a key."""

    def get_leaf(self, key: bytes) -> int | None:
        """Return the leaf index that the entry was created at."""

    def get_leaf_count(self) -> int:
        """Return how many entries there are."""

    def get_node(self, level: int, index: int) -> bytes | None:
        """Return a node of the state tree."""

    def get_due_jobs(self, clock: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the first (due time, job id) with due time < clock, in that order."""


class Changes:
    """Writes over a base view; reads see them. Not thread-safe; one writer each."""

    def __init__(self, base: StateView) -> None:
        self.base = base
        self.entries: dict[bytes, Entry] = {}
        self.new_keys: list[bytes] = []
        """Keys that the base lacks, in order of creation: they take the next leaves."""
        self.nodes: dict[state_tree.NodeKey, bytes] = {}
        # Counted once: the base may take these very writes over while a later overlay still reads.
        self._first_leaf = base.get_leaf_count()
        self._leaves: dict[bytes, int] = {}
        self._journal: list[tuple[bytes, Entry | None]] = []

    def get(self, key: bytes) -> Entry | None:
        entry = self.entries.get(key)
        return entry if entry is not None else self.base.get(key)

    def put(self, key: bytes, entry: Entry) -> None:
        previous = self.entries.get(key)
        if previous is None and self.base.get(key) is None:
            self._leaves[key] = self.get_leaf_count()
            self.new_keys.append(key)
        self._journal.append((key, previous))
        self.entries[key] = entry

    def mark(self) -> int:
        """Return a mark to which `revert` takes the writes back."""
        return len(self._journal)

    def revert(self, mark: int) -> None:
        """Undo every write since `mark`."""
        while len(self._journal) > mark:
            key, previous = self._journal.pop()
            if previous is not None:
                self.entries[key] = previous
                continue
            del self.entries[key]
            if self._leaves.pop(key, None) is not None:
                assert self.new_keys.pop() == key

    def get_leaf(self, key: bytes) -> int | None:
        leaf = self._leaves.get(key)
        return leaf if leaf is not None else self.base.get_leaf(key)

    def get_leaf_count(self) -> int:
        return self._first_leaf + len(self.new_keys)

    def get_node(self, level: int, index: int) -> bytes | None:
        node = self.nodes.get((level, index))
        return node if node is not None else self.base.get_node(level, index)

    def get_due_jobs(self, clock: int, limit: int) -> list[tuple[int, bytes]]:
        own = list(self._iterate_jobs())
        overwritten = {job for job, _ in own}
        due = [
            (time, job)
            for time, job in self.base.get_due_jobs(clock, limit + len(own))
            if job not in overwritten
        ]
        for job, entry in own:
            time = compute_due_time(entry)
            if time is not None and time < clock:
                due.append((time, job))
        return sorted(due)[:limit]

    def compute_root(self) -> bytes:
        """Return the root of the state with these writes, and keep the tree nodes they change."""
        leaves = []
        for key, entry in self.entries.items():
            leaf = self.get_leaf(key)
            assert leaf is not None
            leaves.append((leaf, state_tree.hash_leaf(key, codec.encode(entry))))
        root, self.nodes = state_tree.update_tree(
            self.base.get_node, self._first_leaf, self.get_leaf_count(), leaves
        )
        return root

    def _iterate_jobs(self) -> Iterator[tuple[bytes, Job]]:
        for key, entry in self.entries.items():
            if isinstance(entry, Job):
                yield key[1:], entry


class MemoryState:
    """A whole state in memory: the empty state under genesis, tests and light replay."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.leaves: dict[bytes, int] = {}
        self.nodes: dict[state_tree.NodeKey, bytes] = {}
        self._due: dict[bytes, int] = {}

    def get(self, key: bytes) -> Entry | None:
        return self.entries.get(key)

    def get_leaf(self, key: bytes) -> int | None:
        return self.leaves.get(key)

    def get_leaf_count(self) -> int:
        return len(self.leaves)

    def get_node(self, level: int, index: int) -> bytes | None:
        return self.nodes.get((level, index))

    def get_due_jobs(self, clock: int, limit: int) -> list[tuple[int, bytes]]:
        return sorted((time, job) for job, time in self._due.items() if time < clock)[:limit]

    def commit(self, changes: Changes) -> None:
        """Take over the writes of an overlay whose root has been computed."""
        assert changes.base is self
        for key in changes.new_keys:
            self.leaves[key] = len(self.leaves)
        self.entries.update(changes.entries)
        self.nodes.update(changes.nodes)
        for key, entry in changes.entries.items():
            if isinstance(entry, Job):
                due = compute_due_time(entry)
                if due is None:
                    self._due.pop(key[1:], None)
                else:
                    self._due[key[1:]] = due


def get_account(view: StateView, address: bytes) -> Account:
    """Return an account; one that nobody has paid yet is empty."""
    entry = view.get(account_key(address))
    assert entry is None or isinstance(entry, Account)
    return entry or Account()


def get_miner(view: StateView, name: str) -> Miner | None:
    """Return a registered miner, active or not."""
    entry = view.get(miner_key(name))
    assert entry is None or isinstance(entry, Miner)
    return entry


def get_job(view: StateView, job: bytes) -> Job | None:
    """Return a job by its 32-byte id."""
    entry = view.get(job_key(job))
    assert entry is None or isinstance(entry, Job)
    return entry


def get_offer(view: StateView, offer: bytes) -> Offer | None:
    """Return an offer by its 32-byte id, whether it can still be accepted or not."""
    entry = view.get(offer_key(offer))
    assert entry is None or isinstance(entry, Offer)
    return entry


def get_totals(view: StateView) -> Totals:
    """Return the sums over the whole state."""
    entry = view.get(TOTALS_KEY)
    assert isinstance(entry, Totals)
    return entry


def get_authorities(view: StateView) -> Authorities:
    """Return the authority sets of the next block and of the one after it."""
    entry = view.get(AUTHORITIES_KEY)
    assert isinstance(entry, Authorities)
    return entry
