"""The chain's parameters: fixed in genesis, identical for every node, part of the chain id."""

from typing import Annotated

from msgspec import Meta

from ledger.types import Amount, Counter, Hash, Record, Time

BasisPoints = Annotated[int, Meta(ge=0, le=10_000)]


class Parameters(Record, frozen=True):
    """Everything about a chain that is a choice. Times in milliseconds, money in base units."""

    minimum_fee_rate: Amount = 10
    """Base units per byte of a transaction."""
    maximum_validity: Counter = 100_000
    """How many heights ahead a transaction's `valid_until` may lie."""
    coordinator_share: BasisPoints = 500
    network_share: BasisPoints = 200
    minimum_bond: Amount = 10 * 10**9
    lapse_penalty: Amount = 10**8
    """What a lapsed lease takes from the bond; the client whose time it cost gets it."""
    maximum_leases: Annotated[int, Meta(ge=1, le=1024)] = 64
    maximum_attempts: Annotated[int, Meta(ge=1, le=8)] = 3
    cancel_grace: Time = 10_000
    """How long a leaseholder may still settle a job that is being cancelled. A lease that is
    shorter from the start never costs bond (rule J2)."""
    maximum_job_duration: Time = 7 * 86_400_000
    outage_gap: Time = 60_000
    """A longer gap between two blocks is an outage: live deadlines move by it (rule D4)."""
    maximum_deadlines: Annotated[int, Meta(ge=1, le=4096)] = 1_024
    """How many due deadlines one block processes."""
    clock_tolerance: Time = 2_000
    block_interval: Time = 500
    heartbeat_interval: Time = 10_000
    round_trip_bound: Time = 250
    """Delta of the consensus timers."""
    vote_validity: Annotated[int, Meta(ge=1, le=10**9)] = 1_000_000
    """For how many heights votes on the authority set are gathered (rule A4)."""


class ProofParameters(Record, frozen=True):
    """Which proof the chain accepts: the key's id, its curve and its circuit (rule P5.2)."""

    key_id: Hash
    circuit: Hash
    curve: str
