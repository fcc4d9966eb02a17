"""Decides what the miner remembers of one claim, from before the claim is sent until it is over.

A record is written to the spool at each step, so that whatever ends the miner, the next start knows
which transaction may be out, which job is still leased and which result is still owed.
"""

from enum import IntEnum
from typing import Any

import msgspec

from aitbc.wallet import SignedTransaction
from ledger.terms import ReceiptTerms, Terms


class Stage(IntEnum):
    """How far a claim has come; each stage follows the one before it, or is the last."""

    CLAIMING = 1
    """A claim may have been sent."""
    LEASED = 2
    """The lease is ours; the job is to be run."""
    FINISHED = 3
    """The result is here and is owed to the client."""
    FAILING = 4
    """The lease is to be given back with a reason."""


class LeaseRecord(msgspec.Struct, frozen=True):
    """Our lease. Header times in milliseconds; `received_at` is our own clock's."""

    number: int
    claimed_at: int
    ends_at: int
    heartbeat_seconds: float
    received_at: int
    head: int = 0
    """Of the chain's last block when the lease was received."""
    report_token: str | None = None
    """What another coordinator's job came with, for its heartbeats."""


class Outcome(msgspec.Struct, frozen=True):
    """What the engine made of the job."""

    result: dict[str, Any]
    receipt: ReceiptTerms
    engine: str
    device: str = ""
    pins: dict[str, str] = {}
    energy_joules: int | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why the lease goes back."""

    reason_code: int
    detail: str


class Work(msgspec.Struct, frozen=True):
    """One claim of one job."""

    job: bytes
    stage: Stage
    service: str
    billing: int
    price: int
    """Base units per unit."""
    claim: SignedTransaction | None = None
    lease: LeaseRecord | None = None
    content: dict[str, Any] | None = None
    terms: Terms | None = None
    job_commit: bytes = b""
    outcome: Outcome | None = None
    proof: bytes = b""
    failure: Failure | None = None
    ending: SignedTransaction | None = None
    """The settlement or the report, once signed: it is sent again as it is."""
    is_price_public: bool = False
    """The price is that of our accepted offer: its commitment opens for everybody."""
    needs_gpu: bool = False
    """The client asks for a GPU: a result that a CPU made is none."""

    @property
    def job_id(self) -> str:
        """The job's id as the API writes it."""
        return f"job_{self.job.hex()}"


def fail(work: Work, reason_code: int, detail: str) -> Work:
    """Return the work with its lease to be given back."""
    return msgspec.structs.replace(
        work,
        stage=Stage.FAILING,
        failure=Failure(int(reason_code), detail[:500]),
        outcome=None,
        proof=b"",
        ending=None,
    )
