"""Decides what a settlement proof states, as data and as plain rules in Python.

`check_statement` is the reference that the circuit is tested against, rule by rule. Sections P2
and P3 of docs/protocol/proof.md; the names of the rules are the ones listed there.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

from zk.field import encode_field, is_field_element, to_field
from zk.poseidon import poseidon

UNITS_BITS: Final = 40
PRICE_BITS: Final = 63
AMOUNT_BITS: Final = 63
TIME_BITS: Final = 48
"""Header time in milliseconds: good until the year 10889."""

PER_UNIT: Final = 0
PER_SECOND: Final = 1
MILLISECONDS: Final = 1000

PUBLIC_INPUTS: Final = 9
CONTEXT_TAG: Final = b"aitbc/settlement-context/v1\x00"
ADDRESS_BYTES: Final = 20
HASH_BYTES: Final = 32


class Offer(msgspec.Struct, frozen=True):
    """What the client escrowed for. Hashes and the salt are field elements; times are in ms."""

    job: int
    client: int
    max_units: int
    max_price: int
    not_before: int
    deadline: int
    model: int
    input_hash: int
    salt: int


class Price(msgspec.Struct, frozen=True):
    """The agreed price in base units per unit of work."""

    price: int
    salt: int


class Receipt(msgspec.Struct, frozen=True):
    """What the miner says it did; times are in ms."""

    units: int
    started: int
    completed: int
    result_hash: int
    salt: int


class PublicInputs(msgspec.Struct, frozen=True):
    """The nine public inputs, in the order in which the proof binds them."""

    job_commit: int
    price_commit: int
    receipt_commit: int
    amount: int
    payee: int
    claim_time: int
    billing: int
    epoch_time: int
    context: int

    def as_tuple(self) -> tuple[int, ...]:
        return msgspec.structs.astuple(self)


class Witness(msgspec.Struct, frozen=True):
    """The private side of the statement."""

    offer: Offer
    price: Price
    receipt: Receipt


def commit_offer(offer: Offer) -> int:
    """`job_commit`: Poseidon of the nine fields in order.

    Raises:
        ValueError: a field is not a field element.
    """
    return poseidon(msgspec.structs.astuple(offer))


def commit_price(price: Price) -> int:
    """`price_commit`: Poseidon of price and salt."""
    return poseidon(msgspec.structs.astuple(price))


def commit_receipt(receipt: Receipt, job: int, payee: int) -> int:
    """`receipt_commit`: Poseidon of job, payee and the five fields of the receipt."""
    return poseidon((job, payee, *msgspec.structs.astuple(receipt)))


def address_to_field(address: bytes) -> int:
    """An account's 20 bytes as a field element, big-endian, without reduction.

    Raises:
        ValueError: not 20 bytes.
    """
    if len(address) != ADDRESS_BYTES:
        raise ValueError(f"an address has {ADDRESS_BYTES} bytes, got {len(address)}")
    return int.from_bytes(address, "big")


def compute_context(
    chain_id: bytes,
    key_id: bytes,
    kind: int,
    job_id: bytes,
    lease_number: int,
    payee: bytes,
    receipt_commit: int,
) -> int:
    """What a proof is for, so that it serves nothing else: rule P2.4.

    Args:
        chain_id: 32 bytes, the hash of genesis.
        key_id: 32 bytes, the id of the verifying key.
        kind: the kind number of the settling transaction, below 2**16.
        job_id: 32 bytes.
        lease_number: which claim of the job this is, below 2**64.
        payee: 20 bytes, the address paid.
        receipt_commit: a field element.

    Raises:
        ValueError: a length or a range is wrong.
    """
    for name, data in (("chain id", chain_id), ("key id", key_id), ("job id", job_id)):
        if len(data) != HASH_BYTES:
            raise ValueError(f"the {name} has {HASH_BYTES} bytes, got {len(data)}")
    if len(payee) != ADDRESS_BYTES:
        raise ValueError(f"an address has {ADDRESS_BYTES} bytes, got {len(payee)}")
    if not (0 <= kind < 1 << 16 and 0 <= lease_number < 1 << 64):
        raise ValueError("kind or lease number out of range")
    content = b"".join(
        (
            CONTEXT_TAG,
            chain_id,
            key_id,
            kind.to_bytes(2, "big"),
            job_id,
            lease_number.to_bytes(8, "big"),
            payee,
            encode_field(receipt_commit),
        )
    )
    return to_field(hashlib.sha256(content).digest())


def check_statement(public: PublicInputs, witness: Witness) -> list[str]:
    """Names of the rules that do not hold; empty exactly when a proof exists."""
    offer, price, receipt = witness.offer, witness.price, witness.receipt
    values = (
        *public.as_tuple(),
        *msgspec.structs.astuple(offer),
        *msgspec.structs.astuple(price),
        *msgspec.structs.astuple(receipt),
    )
    if not all(is_field_element(value) for value in values):
        return ["field_elements"]
    return [name for name, holds in _rules(public, offer, price, receipt) if not holds]


def _rules(
    public: PublicInputs, offer: Offer, price: Price, receipt: Receipt
) -> Iterator[tuple[str, bool]]:
    yield "job_commit", public.job_commit == commit_offer(offer)
    yield "price_commit", public.price_commit == commit_price(price)
    yield (
        "receipt_commit",
        public.receipt_commit == commit_receipt(receipt, offer.job, public.payee),
    )
    yield "units_range", receipt.units < 1 << UNITS_BITS
    yield "max_units_range", offer.max_units < 1 << UNITS_BITS
    yield "units_within_max", receipt.units <= offer.max_units
    yield "price_range", price.price < 1 << PRICE_BITS
    yield "max_price_range", offer.max_price < 1 << PRICE_BITS
    yield "price_within_max", price.price <= offer.max_price
    yield "amount_range", public.amount < 1 << AMOUNT_BITS
    yield "amount_is_units_times_price", public.amount == receipt.units * price.price
    yield "claim_time_range", public.claim_time < 1 << TIME_BITS
    yield "not_before_range", offer.not_before < 1 << TIME_BITS
    yield "deadline_range", offer.deadline < 1 << TIME_BITS
    yield "epoch_time_range", public.epoch_time < 1 << TIME_BITS
    yield "started_after_claim", public.claim_time <= receipt.started
    yield "started_after_not_before", offer.not_before <= receipt.started
    yield "started_before_completed", receipt.started < receipt.completed
    yield "completed_by_deadline", receipt.completed <= offer.deadline
    yield "completed_by_epoch_time", receipt.completed <= public.epoch_time
    yield "billing_known", public.billing in (PER_UNIT, PER_SECOND)
    elapsed = receipt.completed - receipt.started
    yield (
        "units_within_seconds",
        public.billing != PER_SECOND or receipt.units * MILLISECONDS <= elapsed,
    )
