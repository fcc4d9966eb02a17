"""The circuit says what the reference rules say, no more and no less."""

from collections import defaultdict
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zk.samples import (
    CLAIM_TIME,
    COMPLETED,
    OFFER,
    PAYEE,
    PRICE,
    RECEIPT,
    STARTED,
    make_statement,
)
from zk.circuit import CIRCUIT_HASH, compute_circuit_hash, evaluate, record
from zk.devkey import load_dev_proving_key, read_dev_zkey
from zk.field import R
from zk.statement import PUBLIC_INPUTS, PublicInputs, Witness, check_statement
from zk.zkey import read_coefficients

CONSTRAINTS = 1890


def test_the_circuit_is_the_pinned_one() -> None:
    assert compute_circuit_hash() == CIRCUIT_HASH
    assert len(record().constraints) == CONSTRAINTS


def test_the_dev_key_belongs_to_the_circuit() -> None:
    """Its factors, row by row, are those of the code and one row for each public input."""
    expected = set()
    for row, constraint in enumerate(record().constraints):
        for matrix, side in enumerate((constraint.left, constraint.right)):
            expected |= {(matrix, row, wire, factor) for wire, factor in side.items()}
    expected |= {(0, CONSTRAINTS + wire, wire, 1) for wire in range(PUBLIC_INPUTS + 1)}
    assert set(read_coefficients(read_dev_zkey())) == expected
    assert load_dev_proving_key().content.wire_count == record().wire_count


def test_values_and_combinations_run_the_same_circuit() -> None:
    evaluator = evaluate(*make_statement())
    assert evaluator.broken_rules == []
    for row, constraint in enumerate(record().constraints):
        sides = [
            sum(evaluator.witness[wire] * factor for wire, factor in side.items()) % R
            for side in (constraint.left, constraint.right, constraint.product)
        ]
        assert sides[:2] == [evaluator.left[row], evaluator.right[row]]
        assert sides[0] * sides[1] % R == sides[2]


def test_no_wire_is_free() -> None:
    """Changing any one wire of a witness that holds breaks a constraint."""
    witness = evaluate(*make_statement()).witness
    touching = defaultdict(list)
    for constraint in record().constraints:
        for wire in {*constraint.left, *constraint.right, *constraint.product}:
            touching[wire].append(constraint)
    for wire in range(1, len(witness)):
        changed = {wire: (witness[wire] + 1) % R}

        def value(side: Any, changed: dict[int, int] = changed) -> int:
            return sum(changed.get(w, witness[w]) * factor for w, factor in side.items())

        assert any(
            (value(each.left) * value(each.right) - value(each.product)) % R
            for each in touching[wire]
        ), f"wire {wire} is free"


def test_the_rules_of_circuit_and_reference_have_the_same_names() -> None:
    named = {constraint.rule for constraint in record().constraints} - {"context"}
    everything_wrong = check_statement(
        PublicInputs(1, 2, 3, R - 1, 5, R - 1, 7, R - 2, 9), _make_hopeless_witness()
    )
    assert set(everything_wrong) <= named
    assert len(named) == 22


def _make_hopeless_witness() -> Witness:
    big = R - 1
    return Witness(
        msgspec.structs.replace(OFFER, max_units=big - 1, max_price=big - 1, deadline=0),
        msgspec.structs.replace(PRICE, price=big),
        msgspec.structs.replace(RECEIPT, units=big, started=3, completed=2),
    )


def near(*points: int) -> st.SearchStrategy[int]:
    """Values at and around the points and the ends of the ranges, and anything in the field."""
    ends = [0, 1 << 40, 1 << 48, 1 << 63, R]
    edges = st.sampled_from([*points, *points, *ends])
    shifted = st.builds(lambda point, shift: (point + shift) % R, edges, st.integers(-2, 2))
    return st.one_of(shifted, shifted, shifted, st.integers(0, R - 1))


TIMES = (CLAIM_TIME, STARTED, COMPLETED, OFFER.not_before, OFFER.deadline)
UNITS = (RECEIPT.units, OFFER.max_units, 400)
PRICES = (PRICE.price, OFFER.max_price)
OFFER_CHANGES: dict[str, Any] = {
    "max_units": near(*UNITS),
    "max_price": near(*PRICES),
    "not_before": near(*TIMES),
    "deadline": near(*TIMES),
}
RECEIPT_CHANGES: dict[str, Any] = {
    "units": near(*UNITS),
    "started": near(*TIMES),
    "completed": near(*TIMES),
}
PUBLIC_CHANGES: dict[str, Any] = {
    "amount": near(RECEIPT.units * PRICE.price),
    "payee": near(PAYEE),
    "claim_time": near(*TIMES),
    "billing": st.one_of(st.sampled_from([0, 1, 2]), near(1)),
    "epoch_time": near(*TIMES),
    "job_commit": st.integers(0, R - 1),
}


@settings(max_examples=250)
@given(
    st.fixed_dictionaries({}, optional=OFFER_CHANGES),
    st.one_of(st.just(PRICE.price), near(*PRICES)),
    st.fixed_dictionaries({}, optional=RECEIPT_CHANGES),
    st.fixed_dictionaries({}, optional=PUBLIC_CHANGES),
)
def test_circuit_and_reference_agree(
    offer: dict[str, int], price: int, receipt: dict[str, int], public: dict[str, int]
) -> None:
    statement = make_statement(
        msgspec.structs.replace(OFFER, **offer),
        msgspec.structs.replace(PRICE, price=price),
        msgspec.structs.replace(RECEIPT, **receipt),
        **public,
    )
    expected = check_statement(*statement)
    assert bool(evaluate(*statement).broken_rules) == bool(expected), expected


SMALL = st.integers(0, 6)


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(dict.fromkeys(OFFER_CHANGES, SMALL)),
    SMALL,
    st.fixed_dictionaries(dict.fromkeys(RECEIPT_CHANGES, SMALL)),
    st.fixed_dictionaries({"claim_time": SMALL, "epoch_time": SMALL, "billing": st.integers(0, 2)}),
)
def test_for_values_in_range_both_name_the_same_rules(
    offer: dict[str, int], price: int, receipt: dict[str, int], public: dict[str, int]
) -> None:
    statement = make_statement(
        msgspec.structs.replace(OFFER, **offer),
        msgspec.structs.replace(PRICE, price=price),
        msgspec.structs.replace(RECEIPT, **receipt),
        **public,
    )
    # An unknown billing makes the timed rule of the circuit a matter of that number.
    ignored = {"units_within_seconds"} if public["billing"] == 2 else set()
    broken = set(evaluate(*statement).broken_rules) - ignored
    assert broken == set(check_statement(*statement)) - ignored
