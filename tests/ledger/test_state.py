import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.entries import Account, Entry, Job, account_key, job_key
from ledger.state import Changes, MemoryState, get_account, get_job, get_miner
from ledger.state_tree import is_in_state, prove_leaf
from ledger.transactions import JobCancel, Transfer
from tests.ledger.world import (
    CLIENT,
    STRANGER,
    World,
    copy_state,
    get_job_id,
    make_key,
    make_submit,
    make_world,
    start_job,
    start_lease,
)

KEYS = [account_key(bytes([number]) * 20) for number in range(6)]


def make_state(count: int = 3) -> MemoryState:
    state = MemoryState()
    changes = Changes(state)
    for number, key in enumerate(KEYS[:count]):
        changes.put(key, Account(number))
    changes.compute_root()
    state.commit(changes)
    return state


def take(changes: Changes) -> tuple[dict[bytes, Entry], list[bytes], int, list[int | None]]:
    """Return everything that an overlay answers."""
    leaves = [changes.get_leaf(key) for key in KEYS]
    return dict(changes.entries), list(changes.new_keys), changes.get_leaf_count(), leaves


Write = tuple[int, int]
writes = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=12)


@given(before=writes, after=writes)
def test_a_revert_undoes_exactly_what_came_after_the_mark(
    before: list[Write], after: list[Write]
) -> None:
    changes = Changes(make_state())
    for at, balance in before:
        changes.put(KEYS[at], Account(balance))
    mark, expected, root = changes.mark(), take(changes), changes.compute_root()
    for at, balance in after:
        changes.put(KEYS[at], Account(balance))
    changes.revert(mark)
    assert take(changes) == expected
    assert changes.compute_root() == root
    changes.revert(0)
    assert take(changes) == take(Changes(make_state()))


@given(st.lists(writes, max_size=5))
def test_overlays_on_overlays_equal_commits_one_by_one(blocks: list[list[Write]]) -> None:
    stacked: Changes | MemoryState = make_state()
    state = make_state()
    for block in blocks:
        overlay, changes = Changes(stacked), Changes(state)
        for at, balance in block:
            overlay.put(KEYS[at], Account(balance))
            changes.put(KEYS[at], Account(balance))
        assert overlay.compute_root() == changes.compute_root()
        state.commit(changes)
        stacked = overlay
    for key in KEYS:
        assert stacked.get(key) == state.get(key)
        assert stacked.get_leaf(key) == state.get_leaf(key)
    assert stacked.get_leaf_count() == state.get_leaf_count()


def test_an_overlay_outlives_the_commit_of_its_base() -> None:
    """A later block is executed on an overlay; the commit below must not move its answers."""
    state = make_state()
    lower = Changes(state)
    lower.put(KEYS[3], Account(3))
    lower.compute_root()
    upper = Changes(lower)
    state.commit(lower)
    upper.put(KEYS[4], Account(4))
    assert (upper.get_leaf(KEYS[3]), upper.get_leaf(KEYS[4])) == (3, 4)
    fresh = Changes(state)
    fresh.put(KEYS[4], Account(4))
    assert upper.compute_root() == fresh.compute_root()


def test_an_overlay_without_writes_has_the_root_of_its_base() -> None:
    world = make_world()
    assert Changes(world.state).compute_root() == world.head.state_root


def test_due_jobs_are_those_of_base_and_overlay() -> None:
    world = make_world()
    deadline = world.head.time + 15_000
    jobs = [start_job(world, tag, queue_deadline=deadline + tag) for tag in range(4)]
    changes = Changes(world.state)
    gone = get_job(changes, jobs[0])
    assert gone is not None
    execution = world.open(1)
    execution.apply(world.sign(CLIENT, JobCancel(jobs[0])))
    view = execution.changes
    late = deadline + 100
    assert view.get_due_jobs(late, 9) == [(deadline + tag, jobs[tag]) for tag in (1, 2, 3)]
    assert view.get_due_jobs(late, 2) == [(deadline + tag, jobs[tag]) for tag in (1, 2)]
    assert view.get_due_jobs(deadline + 2, 9) == [(deadline + 1, jobs[1])]
    assert view.get_due_jobs(deadline + 1, 9) == []
    assert Changes(view).get_due_jobs(late, 9) == view.get_due_jobs(late, 9)


def test_a_job_that_only_the_overlay_has_is_due_after_its_deadline() -> None:
    world = make_world()
    execution = world.open(1)
    deadline = execution.context.time + 5
    payload = make_submit(world, queue_deadline=deadline)
    execution.apply(world.sign(CLIENT, payload))
    job = get_job_id(CLIENT, payload)
    assert execution.changes.get_due_jobs(deadline, 9) == []
    assert execution.changes.get_due_jobs(deadline + 1, 9) == [(deadline, job)]


def test_a_copy_from_the_entries_alone_has_the_same_root_and_answers() -> None:
    world = make_world()
    start_lease(world)
    copied = copy_state(world.state)
    assert copied.nodes == world.state.nodes
    assert copied.get_due_jobs(2**48, 10) == world.state.get_due_jobs(2**48, 10)


def test_every_entry_of_a_state_has_a_proof() -> None:
    world = make_world()
    start_lease(world)
    for key, entry in world.state.entries.items():
        leaf = world.state.get_leaf(key)
        assert leaf is not None
        proof = prove_leaf(world.state.get_node, world.state.get_leaf_count(), leaf)
        assert is_in_state(key, codec.encode(entry), proof, world.head.state_root)


def test_absent_entries() -> None:
    state = MemoryState()
    assert get_account(state, bytes(20)) == Account(0, 0)
    assert get_miner(state, "nobody") is None
    assert get_job(state, bytes(32)) is None
    assert state.get_leaf(b"a") is None


def test_a_commit_of_a_strange_overlay_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        make_state().commit(Changes(make_state()))


def test_reading_an_unknown_account_creates_nothing() -> None:
    world = make_world()
    count = world.state.get_leaf_count()
    world.run(CLIENT, Transfer(make_key(400).address, 2**62))
    assert world.state.get_leaf_count() == count
    world.run(CLIENT, Transfer(STRANGER.address, 1))
    assert world.state.get_leaf_count() == count


def test_a_job_is_found_by_its_key() -> None:
    world: World = make_world()
    job = start_job(world)
    assert isinstance(world.state.get(job_key(job)), Job)
