"""The published fault table: who failed, at which stage, and what follows (rule F1).

Every reason code has five digits: 1xxxx the client, 2xxxx the miner, 3xxxx the network. No code
pays anybody: a job that does not settle gives its whole escrow back.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Reason(IntEnum):
    """Why an attempt or a job ended without a settlement."""

    CANCELLED_WHILE_QUEUED = 11_001
    CANCELLED_WHILE_LEASED = 11_002
    INPUT_INVALID = 12_001
    TERMS_NOT_COVERED = 12_002
    LEASE_LAPSED = 21_001
    MODEL_MISSING = 22_001
    ENGINE_FAILED = 22_002
    RESOURCES_MISSING = 22_003
    TIME_LIMIT_REACHED = 22_004
    MINER_DRAINED = 22_005
    NO_MINER_IN_TIME = 31_001
    CONTENT_UNAVAILABLE = 31_002


class Fault(NamedTuple):
    """What a reason means: who failed, where, who may report it, and what it costs."""

    party: str
    stage: str
    is_reportable: bool
    """A leaseholder may report it of its own attempt. A report never pays the reporter."""
    costs_bond: bool
    """The lapse penalty moves from the miner's bond to the client."""
    sentence: str


FAULT_TABLE: Final[Mapping[int, Fault]] = MappingProxyType({
    Reason.CANCELLED_WHILE_QUEUED: Fault(
        "client", "queued", False, False, "The client cancelled before any miner claimed."
    ),
    Reason.CANCELLED_WHILE_LEASED: Fault(
        "client", "leased", False, False,
        "The client cancelled; the leaseholder settled nothing within the grace.",
    ),
    Reason.INPUT_INVALID: Fault(
        "client", "running", True, False, "The engine cannot take the job's input."
    ),
    Reason.TERMS_NOT_COVERED: Fault(
        "client", "claimed", True, False,
        "The opened offer does not match its commitment or its escrow.",
    ),
    Reason.LEASE_LAPSED: Fault(
        "miner", "leased", False, True, "The lease ended without a settlement or a report."
    ),
    Reason.MODEL_MISSING: Fault(
        "miner", "preparing", True, False, "The miner does not hold the model that the job names."
    ),
    Reason.ENGINE_FAILED: Fault(
        "miner", "running", True, False, "The engine stopped with an error."
    ),
    Reason.RESOURCES_MISSING: Fault(
        "miner", "preparing", True, False, "The miner lacks what the job needs to run on or with."
    ),
    Reason.TIME_LIMIT_REACHED: Fault(
        "miner", "running", True, False, "The work did not end inside the lease."
    ),
    Reason.MINER_DRAINED: Fault(
        "miner", "leased", True, False, "The miner was shut down and gave the lease back."
    ),
    Reason.NO_MINER_IN_TIME: Fault(
        "network", "queued", False, False, "No miner claimed before the queue deadline."
    ),
    Reason.CONTENT_UNAVAILABLE: Fault(
        "network", "leased", True, False,
        "The coordinator did not hand over the job's content, or takes no result.",
    ),
})  # fmt: skip


def is_reportable(code: int) -> bool:
    """Tell whether a leaseholder may give this code as its reason."""
    return code in FAULT_TABLE and FAULT_TABLE[code].is_reportable


def is_miners_own(code: int) -> bool:
    """Tell whether a reported code counts against the miner that reports it."""
    return 20_000 <= code < 30_000
