"""The supply check of every block: money is neither made nor lost (rule L7).

Computed from the entries before and after the block, apart from the rules that moved the money, so
that a mistake in a rule stops the node instead of reaching the chain.
"""

from collections.abc import Sequence

import msgspec

from ledger.entries import Account, JobStatus, Miner, Totals, compute_money
from ledger.outcomes import JobEnded, JobSettled, Outcome
from ledger.state import Changes, get_totals
from ledger.types import add_capped


class SupplyViolation(AssertionError):
    """A block would have made or lost money: a bug of ours, and the end of this node's run."""


def compute_totals(changes: Changes, outcomes: Sequence[Outcome]) -> Totals:
    """Return the totals after a block. Raises `SupplyViolation`."""
    totals = get_totals(changes)
    balances, escrows, bonds = totals.balances, totals.escrows, totals.bonds
    accounts, miners = totals.accounts, totals.miners
    for key, entry in changes.entries.items():
        before = changes.base.get(key)
        old, new = compute_money(before), compute_money(entry)
        balances += new[0] - old[0]
        escrows += new[1] - old[1]
        bonds += new[2] - old[2]
        if isinstance(entry, Account):
            accounts += before is None
        elif isinstance(entry, Miner):
            was_active = isinstance(before, Miner) and before.is_active
            miners += int(entry.is_active) - int(was_active)
    if balances + escrows + bonds != totals.supply or min(balances, escrows, bonds) < 0:
        raise SupplyViolation(
            f"balances {balances} + escrows {escrows} + bonds {bonds} != supply {totals.supply}"
        )
    jobs, settled, failed, cancelled, volume = _count_jobs(totals, changes, outcomes)
    return msgspec.structs.replace(
        totals,
        balances=balances,
        escrows=escrows,
        bonds=bonds,
        accounts=accounts,
        miners=miners,
        jobs=jobs,
        settled=settled,
        failed=failed,
        cancelled=cancelled,
        volume=volume,
    )


def _count_jobs(
    totals: Totals, changes: Changes, outcomes: Sequence[Outcome]
) -> tuple[int, int, int, int, int]:
    jobs = totals.jobs + sum(key[:1] == b"j" for key in changes.new_keys)
    settled, failed, cancelled, volume = (
        totals.settled, totals.failed, totals.cancelled, totals.volume,
    )  # fmt: skip
    for outcome in outcomes:
        for event in outcome.events:
            if isinstance(event, JobSettled):
                settled += 1
                volume = add_capped(volume, event.amount)
            elif isinstance(event, JobEnded):
                failed += event.status is JobStatus.FAILED
                cancelled += event.status is JobStatus.CANCELLED
    return jobs, settled, failed, cancelled, volume
