"""The life of a job as a table: which step leads from which stage to which (rule J6).

A step that the table lacks is refused, with a reason that says why; every rule moves a job through
`move`, so no path beside the table exists.
"""

from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ledger.entries import LIVE, Job, JobStatus
from ledger.rejection import Rejected, Rejection


class Step(IntEnum):
    """What can happen to a job. EXPIRE is the only one that no transaction causes."""

    CLAIM = 1
    SETTLE = 2
    REPORT = 3
    CANCEL = 4
    EXPIRE = 5


_QUEUED, _LEASED, _CANCELLING = JobStatus.QUEUED, JobStatus.LEASED, JobStatus.CANCELLING
_SETTLED, _FAILED, _CANCELLED = JobStatus.SETTLED, JobStatus.FAILED, JobStatus.CANCELLED

LIFE_CYCLE: Final = MappingProxyType({
    (_QUEUED, Step.CLAIM): frozenset({_LEASED}),
    (_QUEUED, Step.CANCEL): frozenset({_CANCELLED}),
    (_QUEUED, Step.EXPIRE): frozenset({_FAILED}),
    (_LEASED, Step.SETTLE): frozenset({_SETTLED}),
    (_LEASED, Step.REPORT): frozenset({_QUEUED, _FAILED}),
    (_LEASED, Step.CANCEL): frozenset({_CANCELLING}),
    (_LEASED, Step.EXPIRE): frozenset({_QUEUED, _FAILED}),
    (_CANCELLING, Step.SETTLE): frozenset({_SETTLED}),
    (_CANCELLING, Step.REPORT): frozenset({_CANCELLED}),
    (_CANCELLING, Step.EXPIRE): frozenset({_CANCELLED}),
})  # fmt: skip


def require_step(job: Job, step: Step) -> None:
    """Check that a job can take a step. Raises `Rejected`."""
    if (job.status, step) in LIFE_CYCLE:
        return
    if job.status not in LIVE:
        raise Rejected(Rejection.JOB_TERMINAL, f"the job is {job.status.name.lower()}")
    if step is Step.CLAIM:
        raise Rejected(Rejection.JOB_NOT_QUEUED)
    if step is Step.CANCEL:
        raise Rejected(Rejection.ALREADY_CANCELLING)
    raise Rejected(Rejection.JOB_NOT_LEASED)


def move(job: Job, step: Step, status: JobStatus, **fields: Any) -> Job:
    """Return the job after a step; a move outside the table is a bug of ours."""
    assert status in LIFE_CYCLE[job.status, step]
    return msgspec.structs.replace(job, status=status, **fields)
