"""What a job's status, phase and progress are, given what the chain says and what is known here.

The chain decides every end; what a miner reports moves only the phases inside its lease.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from ledger.entries import LEASE_STATES, JobStatus
from ledger.faults import FAULT_TABLE
from ledger.rejection import REJECTIONS


class Status(StrEnum):
    """The closed set that the API promises."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """Where inside its status a job is."""

    ESCROWING = "escrowing"
    QUEUED = "queued"
    CLAIMED = "claimed"
    PREPARING = "preparing"
    RUNNING = "running"
    UPLOADING = "uploading"
    PROVING = "proving"
    SETTLING = "settling"
    DONE = "done"


ENDED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
REPORTABLE: Final = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.UPLOADING})
ALIASES: Final = {"submitted": "pending", "queued": "pending", "canceled": "cancelled"}
_ENDS: Final = {
    JobStatus.SETTLED: Status.COMPLETED,
    JobStatus.FAILED: Status.FAILED,
    JobStatus.CANCELLED: Status.CANCELLED,
}

_FAULTS: Final = {int(reason): fault for reason, fault in FAULT_TABLE.items()}


class Stage(NamedTuple):
    """A job's status and phase."""

    status: Status
    phase: Phase


def compute_stage(
    chain_status: int | None,
    reported_phase: str | None,
    has_receipt: bool,
    is_settling: bool,
    is_escrow_refused: bool,
) -> Stage:
    """Return the stage; `chain_status` is None until the escrow is final."""
    if chain_status is None:
        if is_escrow_refused:
            return Stage(Status.FAILED, Phase.DONE)
        return Stage(Status.PENDING, Phase.ESCROWING)
    status = JobStatus(chain_status)
    if status in _ENDS:
        return Stage(_ENDS[status], Phase.DONE)
    if status not in LEASE_STATES:
        return Stage(Status.PENDING, Phase.QUEUED)
    if is_settling:
        return Stage(Status.RUNNING, Phase.SETTLING)
    if has_receipt:
        return Stage(Status.RUNNING, Phase.PROVING)
    return Stage(Status.RUNNING, Phase(reported_phase or Phase.CLAIMED))


def compute_progress(known: int, reported: int, status: Status) -> int:
    """Return the progress: it never falls, and is 100 only when the job is settled and final."""
    if status is Status.COMPLETED:
        return 100
    return max(known, min(reported, 99))


def find_fault(reason_code: int) -> str | None:
    """Return whose fault a reason code is: client, miner or network; None when nobody's."""
    fault = _FAULTS.get(reason_code)
    if fault is not None:
        return fault.party
    if reason_code in REJECTIONS:
        # The escrow failed on the chain: its balance was gone, or its deadlines were past.
        return "client"
    return None


def describe_reason(reason_code: int) -> str | None:
    """Return the sentence of a reason code."""
    fault = _FAULTS.get(reason_code)
    if fault is not None:
        return fault.sentence
    rejection = REJECTIONS.get(reason_code)
    return None if rejection is None else rejection.doc
