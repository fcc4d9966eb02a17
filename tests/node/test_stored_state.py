import random
from pathlib import Path

import pytest

from ledger.codec import encode
from ledger.entries import Account, Entry, Job, JobStatus, account_key, job_key
from ledger.state import Changes, MemoryState
from ledger.state_tree import is_in_state, prove_leaf
from node import stored_state
from node.database import Database
from node.sqlcipher import get_raw
from node.stored_state import StateCommit, StoredState
from tests.node.stores import compute_whole_root, create_database, open_database

CHUNK = 100


def make_job(draw: random.Random) -> Job:
    status = draw.choice([JobStatus.QUEUED, JobStatus.FAILED])
    return Job(
        client=bytes(20), service="s", billing=0, coordinator=bytes(20), escrow=1,
        job_commit=bytes(32), queue_window=1, queue_deadline=draw.randrange(1_000),
        execution_limit=1, total_deadline=2_000, submitted_at=1, status=status,
    )  # fmt: skip


def put_some(changes: Changes, draw: random.Random, known: list[bytes]) -> None:
    """Change some known entries and create some, accounts and jobs."""
    for _ in range(draw.randrange(1, 60)):
        key = draw.choice(known) if known and draw.random() < 0.6 else None
        if key is None:
            is_job = draw.random() < 0.3
            key = job_key(draw.randbytes(32)) if is_job else account_key(draw.randbytes(20))
            known.append(key)
        is_job = key.startswith(b"j")
        entry: Entry = make_job(draw) if is_job else Account(draw.randrange(2**60))
        changes.put(key, entry)


def read_all(state: StoredState, memory: MemoryState) -> None:
    assert state.get_leaf_count() == memory.get_leaf_count()
    for key, entry in memory.entries.items():
        assert (state.get(key), state.get_leaf(key)) == (entry, memory.get_leaf(key))
    for clock in (0, 100, 900, 5_000):
        assert state.get_due_jobs(clock, 40) == memory.get_due_jobs(clock, 40)


def write(database: Database, commit: StateCommit) -> None:
    database.write_now(lambda connection: commit.write(get_raw(connection)))


def open_state(database: Database) -> StoredState:
    return StoredState(database.connect_reader(1_024), CHUNK)


@pytest.mark.parametrize("seed", range(4))
def test_it_answers_as_memory_does_at_every_step(tmp_path: Path, seed: int) -> None:
    """Before a commit, while it is durable and not yet taken over, after it, and after restarts."""
    draw = random.Random(seed)
    database, memory = create_database(tmp_path), MemoryState()
    known: list[bytes] = []
    genesis = Changes(memory)
    put_some(genesis, draw, known)
    root = genesis.compute_root()
    database.write_now(lambda connection: stored_state.initialise(get_raw(connection), genesis))
    memory.commit(genesis)
    state = open_state(database)
    batches = 0
    for height in range(1, 60):
        before = len(known)
        changes, twin = Changes(state), Changes(memory)
        again = random.Random(height)
        put_some(changes, again, known)
        created = known[before:]
        del known[before:]
        put_some(twin, random.Random(height), known)
        assert known[before:] == created
        next_root = twin.compute_root()
        assert changes.compute_root() == next_root
        commit = state.plan(height, changes)
        batches += commit.state_batch is not None
        write(database, commit)
        assert compute_whole_root(state) == root
        if height % 5 == 0:
            read_all(state, memory)
        if draw.random() < 0.15:
            # A process that ends here has the commit, although it never took it over.
            state.close()
            database.close_now()
            database = open_database(tmp_path)
            state = open_state(database)
            assert state.recovered_root == next_root
        else:
            state.advance(commit)
        memory.commit(twin)
        root = next_root
        assert compute_whole_root(state) == root
        if height % 5 == 0:
            read_all(state, memory)
    assert batches > 10
    state.close()
    database.close_now()


def test_entries_beyond_the_caches_are_found_and_proved(tmp_path: Path) -> None:
    """With a cold cache every answer comes from the tables."""
    database = create_database(tmp_path)
    genesis = Changes(MemoryState())
    keys = [account_key(random.Random(number).randbytes(20)) for number in range(1_000)]
    for number, key in enumerate(keys):
        genesis.put(key, Account(number))
    root = genesis.compute_root()
    database.write_now(lambda connection: stored_state.initialise(get_raw(connection), genesis))
    for number in random.Random(1).sample(range(1_000), 50):
        state = open_state(database)
        key = keys[number]
        assert state.get(key) == Account(number)
        leaf = state.get_leaf(key)
        assert leaf == number
        proof = prove_leaf(state.get_node, 1_000, number)
        assert is_in_state(key, encode(Account(number)), proof, root)
        assert state.get(key + b"x") is None
        assert state.get_leaf(b"") is None
        state.close()
    database.close_now()
