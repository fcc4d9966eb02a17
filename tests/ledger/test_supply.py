"""The supply check sees each way to make or lose money, whichever rule might have done it."""

import msgspec
import pytest

from ledger.entries import Account, account_key, job_key, miner_key
from ledger.state import Changes, get_account
from ledger.supply import SupplyViolation, compute_totals
from ledger.transactions import JobCancel
from tests.ledger.world import CLIENT, MINER, make_key, make_world, start_lease

NEW = make_key(300)


@pytest.mark.parametrize(
    ("place", "field", "difference"),
    [
        ("account", "balance", 1),
        ("account", "balance", -1),
        ("miner", "bond", 1),
        ("miner", "bond", -1),
        ("job", "escrow", 1),
        ("job", "escrow", -1),
    ],
)
def test_one_unit_made_or_lost_stops_the_block(place: str, field: str, difference: int) -> None:
    world = make_world()
    job = start_lease(world)
    key = {
        "account": account_key(CLIENT.address),
        "miner": miner_key("alpha"),
        "job": job_key(job),
    }[place]
    changes = Changes(world.state)
    entry = changes.get(key)
    assert entry is not None
    changed = {field: getattr(entry, field) + difference}
    changes.put(key, msgspec.structs.replace(entry, **changed))
    with pytest.raises(SupplyViolation):
        compute_totals(changes, [])


def test_money_from_nowhere_in_a_new_account_stops_the_block() -> None:
    world = make_world()
    changes = Changes(world.state)
    changes.put(account_key(NEW.address), Account(1))
    with pytest.raises(SupplyViolation):
        compute_totals(changes, [])


def test_an_escrow_forgotten_at_the_end_of_a_job_stops_the_block() -> None:
    world = make_world()
    job = start_lease(world)
    world.run(CLIENT, JobCancel(job))
    execution = world.open(20_000)
    account = execution.changes.get(account_key(CLIENT.address))
    assert isinstance(account, Account)
    entry = world.state.get(account_key(CLIENT.address))
    assert isinstance(entry, Account) and account.balance > entry.balance
    execution.changes.put(account_key(CLIENT.address), entry)
    with pytest.raises(SupplyViolation):
        execution.finish()


def test_a_negative_sum_stops_the_block() -> None:
    """Two mistakes that cancel out in the supply still show in a part of it."""
    world = make_world()
    start_lease(world)
    changes = Changes(world.state)
    bond = world.get_miner().bond
    client = get_account(changes, CLIENT.address)
    changes.put(miner_key("alpha"), msgspec.structs.replace(world.get_miner(), bond=-1))
    changes.put(
        account_key(CLIENT.address), msgspec.structs.replace(client, balance=client.balance + bond)
    )
    with pytest.raises(SupplyViolation):
        compute_totals(changes, [])
    changes.put(
        account_key(CLIENT.address),
        msgspec.structs.replace(client, balance=client.balance + bond + 1),
    )
    with pytest.raises(SupplyViolation):
        compute_totals(changes, [])


def test_the_counts_follow_what_happened() -> None:
    world = make_world()
    job = start_lease(world)
    totals = compute_totals(Changes(world.state), [])
    assert (totals.accounts, totals.miners, totals.jobs) == (6, 1, 1)
    assert (totals.settled, totals.failed, totals.cancelled) == (0, 0, 0)
    world.run(MINER, world.settle_payload(job, 100))
    totals = compute_totals(Changes(world.state), [])
    assert (totals.settled, totals.escrows, totals.volume) == (1, 0, 100)
