from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from coordinator.phases import (
    ENDED,
    REPORTABLE,
    Phase,
    Status,
    compute_progress,
    compute_stage,
    describe_reason,
    find_fault,
)
from ledger.entries import LIVE, JobStatus
from ledger.faults import FAULT_TABLE, Reason
from ledger.rejection import Rejection


def test_each_combination_has_one_stage_that_the_chain_decides() -> None:
    reports = [None, Phase.CLAIMED, *REPORTABLE]
    for chain, report, receipt, settling, refused in product(
        [None, *JobStatus], reports, *[[False, True]] * 3
    ):
        stage = compute_stage(chain, report, receipt, settling, refused)
        if chain is None:
            assert stage.status is (Status.FAILED if refused else Status.PENDING)
        else:
            assert (stage.status in ENDED) == (chain not in LIVE)
        assert (stage.phase is Phase.DONE) == (stage.status in ENDED)


def test_inside_a_lease_the_later_step_counts() -> None:
    leased = JobStatus.LEASED
    assert compute_stage(leased, None, False, False, False).phase is Phase.CLAIMED
    assert compute_stage(leased, "uploading", False, False, False).phase is Phase.UPLOADING
    assert compute_stage(leased, "running", True, False, False).phase is Phase.PROVING
    assert compute_stage(leased, "running", True, True, False).phase is Phase.SETTLING
    assert compute_stage(JobStatus.QUEUED, "running", False, False, False).phase is Phase.QUEUED


@given(st.lists(st.integers(0, 100)), st.sampled_from(list(Status)))
def test_progress_never_falls_and_is_whole_only_at_the_end(
    reports: list[int], status: Status
) -> None:
    known = 0
    for reported in reports:
        after = compute_progress(known, reported, status)
        assert known <= after <= 100
        assert (after == 100) == (status is Status.COMPLETED)
        known = min(after, 99)


def test_every_reason_has_a_party_and_a_sentence() -> None:
    for reason in Reason:
        assert find_fault(int(reason)) == FAULT_TABLE[reason].party
        assert describe_reason(int(reason)) == FAULT_TABLE[reason].sentence
    assert find_fault(int(Rejection.INSUFFICIENT_BALANCE)) == "client"
    assert find_fault(0) is None
    assert describe_reason(0) is None
