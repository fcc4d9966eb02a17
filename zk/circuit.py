"""Decides the settlement statement as a circuit over the BLS12-381 scalar field.

Read beside section P3 of docs/protocol/proof.md; every constraint carries the name of its rule,
the same name that `zk.statement.check_statement` reports. `CIRCUIT_HASH` pins the `.r1cs` file
that this code makes: a change here is a new circuit, which needs new keys.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from zk.constraints import ONE, Builder, Evaluator, LinearCombination, Recorder, Wire
from zk.grain import compute_constants
from zk.poseidon import is_full_round
from zk.r1cs import encode_r1cs
from zk.statement import (
    AMOUNT_BITS,
    MILLISECONDS,
    PRICE_BITS,
    PUBLIC_INPUTS,
    TIME_BITS,
    UNITS_BITS,
    PublicInputs,
    Witness,
)

CIRCUIT_HASH: Final = "e2826004a613b6487b8b55f0764c0673cb9f01c20f5891ff84f89b6abb8b09ac"
"""sha256 of the `.r1cs` file."""

PRIVATE_INPUTS: Final = 16


def constrain_settlement(
    builder: Builder[Wire], one: Wire, public: Sequence[Wire], private: Sequence[Wire]
) -> None:
    """The whole statement. `public` and `private` in the order of the structs' fields."""
    job_commit, price_commit, receipt_commit, amount, payee = public[:5]
    claim_time, billing, epoch_time, context = public[5:]
    offer: list[Wire] = list(private[:9])
    price_opening: list[Wire] = list(private[9:11])
    receipt: list[Wire] = list(private[11:])
    job, _client, max_units, max_price, not_before, deadline, _model, _input, _salt = offer
    price, _price_salt = price_opening
    units, started, completed, _result, _receipt_salt = receipt

    # P3.1 The three commitments open to what follows.
    openings: list[tuple[str, Wire, list[Wire]]] = [
        ("job_commit", job_commit, offer),
        ("price_commit", price_commit, price_opening),
        ("receipt_commit", receipt_commit, [job, payee] + receipt),
    ]
    for rule, commitment, fields in openings:
        digest = constrain_poseidon(builder, fields, rule)
        builder.assert_product(digest, one, commitment, rule)

    # P3.2 Units and price lie inside the offer. A difference of two checked numbers is in range
    # exactly when it is not negative.
    builder.assert_bits(units, UNITS_BITS, "units_range")
    builder.assert_bits(max_units, UNITS_BITS, "max_units_range")
    builder.assert_bits(max_units - units, UNITS_BITS, "units_within_max")
    builder.assert_bits(price, PRICE_BITS, "price_range")
    builder.assert_bits(max_price, PRICE_BITS, "max_price_range")
    builder.assert_bits(max_price - price, PRICE_BITS, "price_within_max")

    # P3.3 The product is below 2**103, so it cannot wrap around the 255-bit field.
    builder.assert_product(units, price, amount, "amount_is_units_times_price")
    builder.assert_bits(amount, AMOUNT_BITS, "amount_range")

    # P3.4 `started` and `completed` need no range check of their own: they lie between
    # `claim_time` and `deadline`, which have one, and no sum here comes near the field's size.
    builder.assert_bits(claim_time, TIME_BITS, "claim_time_range")
    builder.assert_bits(not_before, TIME_BITS, "not_before_range")
    builder.assert_bits(deadline, TIME_BITS, "deadline_range")
    builder.assert_bits(epoch_time, TIME_BITS, "epoch_time_range")
    builder.assert_bits(started - claim_time, TIME_BITS, "started_after_claim")
    builder.assert_bits(started - not_before, TIME_BITS, "started_after_not_before")
    builder.assert_bits(completed - started - 1, TIME_BITS, "started_before_completed")
    builder.assert_bits(deadline - completed, TIME_BITS, "completed_by_deadline")
    builder.assert_bits(epoch_time - completed, TIME_BITS, "completed_by_epoch_time")

    # P3.5 Billed by time, a unit is a whole second between start and completion.
    builder.assert_product(billing, billing - one, one - one, "billing_known")
    spare = completed - started - MILLISECONDS * units
    spare_if_timed = builder.multiply(billing, spare, "units_within_seconds")
    builder.assert_bits(spare_if_timed, TIME_BITS, "units_within_seconds")

    # P3.6 Nothing else names the context. A constraint of its own binds it to the proof whatever
    # tool makes the key, not only those that add a row for each public input.
    builder.multiply(context, context, "context")


def constrain_poseidon(builder: Builder[Wire], inputs: Sequence[Wire], rule: str) -> Wire:
    """Poseidon of `inputs` as in `zk.poseidon`: three constraints for each S-box."""
    width = len(inputs) + 1
    rounds, matrix = compute_constants(width)
    state: list[Wire] = [inputs[0] - inputs[0]]
    state.extend(inputs)
    for index, constants in enumerate(rounds):
        state = [value + constant for value, constant in zip(state, constants, strict=True)]
        active = width if is_full_round(index, len(rounds)) else 1
        for lane in range(active):
            square = builder.multiply(state[lane], state[lane], rule)
            fourth = builder.multiply(square, square, rule)
            state[lane] = builder.multiply(fourth, state[lane], rule)
        state = [builder.combine(row, state) for row in matrix]
    return state[0]


def evaluate(public: PublicInputs, witness: Witness) -> Evaluator:
    """Run the circuit on values: the full witness, with the rules that it breaks."""
    evaluator = Evaluator()
    inputs = (*public.as_tuple(), *_private_values(witness))
    wires = [evaluator.new_wire(value) for value in inputs]
    constrain_settlement(evaluator, 1, wires[:PUBLIC_INPUTS], wires[PUBLIC_INPUTS:])
    return evaluator


def _private_values(witness: Witness) -> tuple[int, ...]:
    return (
        *msgspec.structs.astuple(witness.offer),
        *msgspec.structs.astuple(witness.price),
        *msgspec.structs.astuple(witness.receipt),
    )


@lru_cache(maxsize=1)
def record() -> Recorder:
    """Run the circuit on linear combinations: its constraints. Takes about a second."""
    recorder = Recorder()
    wires = [recorder.new_wire() for _ in range(PUBLIC_INPUTS + PRIVATE_INPUTS)]
    one = LinearCombination({ONE: 1})
    constrain_settlement(recorder, one, wires[:PUBLIC_INPUTS], wires[PUBLIC_INPUTS:])
    return recorder


def build_r1cs() -> bytes:
    """The circuit as a standard `.r1cs` file, for the ceremony and for outside tools."""
    recorder = record()
    return encode_r1cs(recorder.constraints, recorder.wire_count, PUBLIC_INPUTS, PRIVATE_INPUTS)


def compute_circuit_hash() -> str:
    return hashlib.sha256(build_r1cs()).hexdigest()
