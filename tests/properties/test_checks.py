"""The checks behind "0 violations" find each seeded fault."""

from collections.abc import Callable

import msgspec
import pytest

from ledger.entries import (
    TOTALS_KEY,
    Account,
    AttemptOutcome,
    Entry,
    Job,
    account_key,
    job_key,
    miner_key,
)
from ledger.faults import Reason
from ledger.transactions import JobCancel, JobClaim
from tests.ledger.world import (
    AIT,
    CLIENT,
    COMMIT,
    MINER,
    World,
    make_world,
    report,
    start_job,
    start_lease,
)
from tests.properties.checks import History, find_state_violations

SUPPLY = 6_000 * AIT


def make_busy_world() -> tuple[World, dict[str, bytes]]:
    world = make_world()
    settled = start_lease(world, 1)
    world.run(MINER, world.settle_payload(settled, 100))
    cancelled = start_job(world, 2)
    world.run(CLIENT, JobCancel(cancelled))
    tried = start_job(world, 3)
    world.run(MINER, JobClaim(tried, "alpha", COMMIT))
    world.run(MINER, report(tried, Reason.ENGINE_FAILED))
    leased = start_job(world, 4)
    world.run(MINER, JobClaim(leased, "alpha", COMMIT))
    return world, {
        "settled": settled,
        "cancelled": cancelled,
        "tried": tried,
        "leased": leased,
    }


WORLD, JOBS = make_busy_world()

Fault = Callable[[dict[bytes, Entry]], None]


def edit(key: bytes, **fields: object) -> Fault:
    def seed(entries: dict[bytes, Entry]) -> None:
        entries[key] = msgspec.structs.replace(entries[key], **fields)

    return seed


def edit_part(name: str, part: str, **fields: object) -> Fault:
    def seed(entries: dict[bytes, Entry]) -> None:
        key = job_key(JOBS[name])
        inner = getattr(entries[key], part)
        if isinstance(inner, tuple):
            changed: object = (msgspec.structs.replace(inner[0], **fields),)
        else:
            changed = msgspec.structs.replace(inner, **fields)
        entries[key] = msgspec.structs.replace(entries[key], **{part: changed})

    return seed


MINER_KEY = miner_key("alpha")
STATE_FAULTS: dict[str, Fault] = {
    "money made": edit(account_key(CLIENT.address), balance=2_000 * AIT),
    "money below zero": edit(account_key(CLIENT.address), balance=-1),
    "a supply that moved": edit(TOTALS_KEY, supply=1),
    "a total that lags": edit(TOTALS_KEY, settled=0),
    "an account more": lambda entries: entries.update({account_key(bytes(20)): Account()}),
    "a claim without an outcome": edit(MINER_KEY, claims=4),
    "an outcome too many": edit(MINER_KEY, failed=2),
    "an outcome of another kind": edit(MINER_KEY, failed=0, lapsed=1),
    "a lease too many": edit(MINER_KEY, live_leases=2, claims=4),
    "a bond that went astray": edit(MINER_KEY, bond=0),
    "an exit with a lease": edit(MINER_KEY, is_active=False),
    "a number used twice": edit_part("leased", "lease", number=1),
    "a lease that outlasts its job": edit_part("leased", "lease", ends_at=2**47),
    "an attempt of another kind": edit_part("tried", "attempts", outcome=AttemptOutcome.LAPSED),
    "a payout too high": edit_part("settled", "settlement", payout=10**12),
    "a settlement too many": edit(
        job_key(JOBS["cancelled"]),
        settlement=getattr(WORLD.get_job(JOBS["settled"]), "settlement"),  # noqa: B009
    ),
    "a settlement lost": edit(job_key(JOBS["settled"]), settlement=None),
    "a lease lost": edit(job_key(JOBS["leased"]), lease=None),
    "a queue that outlasts its job": edit(job_key(JOBS["tried"]), queue_deadline=2**47),
    "a second claim of one miner": edit(
        job_key(JOBS["leased"]), attempts=WORLD.get_job(JOBS["tried"]).attempts
    ),
}


def test_a_true_state_has_no_violations() -> None:
    assert find_state_violations(WORLD.state.entries, SUPPLY) == []


@pytest.mark.parametrize("name", STATE_FAULTS)
def test_a_seeded_fault_of_the_state_is_found(name: str) -> None:
    entries = dict(WORLD.state.entries)
    STATE_FAULTS[name](entries)
    assert find_state_violations(entries, SUPPLY) != []


def replay(history: History) -> list[str]:
    found = []
    for executed in WORLD.executed[:-1]:
        found += history.find_violations(executed.outcomes, {})
    found += history.find_violations(WORLD.executed[-1].outcomes, WORLD.state.entries)
    return found


def test_a_true_history_has_no_violations() -> None:
    assert replay(History()) == []


@pytest.mark.parametrize("place", range(len(WORLD.executed)))
def test_a_block_told_twice_is_found(place: int) -> None:
    outcomes = WORLD.executed[place].outcomes
    repeatable = all(type(e).__name__ == "JobQueued" for o in outcomes for e in o.events)
    history = History()
    assert replay(history) == []
    assert (history.find_violations(outcomes, {}) == []) == repeatable


def test_an_end_that_changes_or_keeps_the_escrow_is_found() -> None:
    history = History()
    replay(history)
    key = job_key(JOBS["cancelled"])
    job = WORLD.state.entries[key]
    assert isinstance(job, Job)
    changed = msgspec.structs.replace(job, reason_code=1)
    assert history.find_violations((), {key: changed}) != []
    assert History().find_violations((), {key: job}) != []
