import msgspec
import pytest

from ledger.entries import (
    AUTHORITIES_KEY,
    LIVE,
    PROPOSALS_KEY,
    TOTALS_KEY,
    Account,
    JobStatus,
    account_key,
    compute_due_time,
    compute_money,
    conviction_key,
    job_key,
    miner_key,
    offer_key,
)
from ledger.state import get_totals
from tests.ledger.samples import JOB_ENTRY, LEASE, MINER_ENTRY, OFFER_ENTRY
from tests.ledger.world import make_world


def test_keys_of_different_kinds_never_meet() -> None:
    """The first byte is the kind; every key of one kind has one meaning, whatever a name holds."""
    keys = {TOTALS_KEY, AUTHORITIES_KEY, PROPOSALS_KEY, account_key(b"j" * 20)}
    keys |= {job_key(b"a" * 32), conviction_key(b"a" * 32), offer_key(b"a" * 32)}
    keys |= {miner_key(name) for name in ("t", "v", "a" * 20, "j" * 32, "m", "a", "j")}
    assert len(keys) == 14
    kinds = (b"t", b"v", b"p", b"a", b"j", b"c", b"o")
    assert [len({key for key in keys if key[:1] == kind}) for kind in kinds] == [1] * 7


@pytest.mark.parametrize("status", JobStatus)
def test_money_and_due_time_follow_the_status(status: JobStatus) -> None:
    job = msgspec.structs.replace(JOB_ENTRY, status=status)
    assert compute_money(job) == (0, job.escrow if status in LIVE else 0, 0)
    expected = {
        JobStatus.QUEUED: job.queue_deadline,
        JobStatus.LEASED: LEASE.ends_at,
        JobStatus.CANCELLING: LEASE.ends_at,
    }
    assert compute_due_time(job) == expected.get(status)


def test_money_of_the_other_entries() -> None:
    assert compute_money(Account(5, 1)) == (5, 0, 0)
    assert compute_money(MINER_ENTRY) == (0, 0, MINER_ENTRY.bond)
    assert compute_money(OFFER_ENTRY) == (0, 0, 0)
    assert compute_money(None) == (0, 0, 0)
    assert compute_money(get_totals(make_world().state)) == (0, 0, 0)
