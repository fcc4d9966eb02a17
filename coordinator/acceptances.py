"""Which queued jobs are kept for which miner by an accepted offer (rule O4).

In memory, from the blocks that are followed: it only lets such a job be found at once, before it
lapses. Whether an acceptance holds is read from the chain each time that it matters.
"""

from collections.abc import Iterable
from typing import Final

from coordinator.coordinator import Coordinator
from coordinator.ports import FinalBlock
from ledger.entries import Job
from ledger.jobs import get_held_acceptance
from ledger.outcomes import OfferAccepted
from ledger.state import get_totals

MAX_KEPT: Final = 4_096
"""Acceptances that are kept in mind; of more, the oldest are found like any other job."""


def note(coordinator: Coordinator, blocks: Iterable[FinalBlock]) -> bool:
    """Keep in mind what blocks accepted; tell whether there was anything."""
    accepted = {
        event.job: event.miner
        for block in blocks
        for outcome in block.outcomes
        for event in outcome.events
        if isinstance(event, OfferAccepted)
    }
    kept = coordinator.accepted
    kept.update(accepted)
    while len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
    return bool(accepted)


def list_kept(coordinator: Coordinator, name: str) -> list[bytes]:
    """Return the jobs that were accepted from a miner lately, oldest first."""
    return [job_id for job_id, miner in coordinator.accepted.items() if miner == name]


def may_claim(coordinator: Coordinator, entry: Job, name: str) -> bool:
    """Tell whether no acceptance keeps a queued job for another miner now."""
    clock = coordinator.get_now() - get_totals(coordinator.chain.get_view()).outage
    held = get_held_acceptance(entry, clock)
    return held is None or held.miner == name


def get_price(entry: Job | None, name: str) -> int | None:
    """Return the public price at which a miner claims, or claimed, a job; None: at its own."""
    accepted = None if entry is None else entry.acceptance
    return accepted.price if accepted is not None and accepted.miner == name else None
