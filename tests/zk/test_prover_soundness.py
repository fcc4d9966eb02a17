"""No proof of what does not hold: not through `prove`, nor by forcing the prover's insides.

The cases are settlements that a dishonest miner would want. Each is tried three ways: `prove` must
name the violated rule; proof bytes made from the bad witness regardless must not verify; and an
honest proof must not verify under the inputs of the bad settlement.
"""

from typing import Any, Final

import msgspec
import pytest

from tests.zk.samples import (
    CLAIM_TIME,
    COMPLETED,
    OFFER,
    PAYEE,
    PRICE,
    RANDOMNESS,
    RECEIPT,
    STARTED,
    make_statement,
)
from zk.circuit import evaluate
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.field import R
from zk.prover import UnsatisfiedStatement, compute_proof, prove
from zk.statement import PER_UNIT, PublicInputs, Witness
from zk.verifier import verify

replace = msgspec.structs.replace
AMOUNT: Final = RECEIPT.units * PRICE.price
# Wraps: units * price = 5 modulo R, with units far out of range.
WRAPPING_UNITS: Final = 5 * pow(PRICE.price, -1, R) % R


def bad(rule: str, note: str = "", **changes: Any) -> Any:
    return pytest.param(changes, rule, id=f"{rule}{note}")


def statement(changes: dict[str, Any]) -> tuple[PublicInputs, Witness]:
    parts: dict[str, Any] = {"offer": OFFER, "price": PRICE, "receipt": RECEIPT}
    public = {}
    for name, value in changes.items():
        part, _, field = name.partition("__")
        if field:
            parts[part] = replace(parts[part], **{field: value})
        else:
            public[name] = value
    return make_statement(**parts, **public)


BAD_WITNESSES = [
    bad("units_within_max", offer__max_units=RECEIPT.units - 1),
    bad("price_within_max", offer__max_price=PRICE.price - 1),
    bad("amount_is_units_times_price", " +1", amount=AMOUNT + 1),
    bad("amount_is_units_times_price", " -1", amount=AMOUNT - 1),
    bad("amount_is_units_times_price", " wrapped", receipt__units=WRAPPING_UNITS, amount=6),
    bad("units_range", " wrapped", receipt__units=WRAPPING_UNITS, amount=5),
    bad("units_range", " -1", receipt__units=R - 1, amount=R - PRICE.price),
    bad("units_range", " 2**40", receipt__units=1 << 40, offer__max_units=1 << 41),
    bad("price_range", " -1", price__price=R - 1, amount=R - RECEIPT.units),
    bad("max_price_range", offer__max_price=1 << 63),
    bad(
        "amount_range",
        offer__max_units=1 << 39,
        receipt__units=1 << 33,
        price__price=1 << 30,
        amount=1 << 63,
        billing=PER_UNIT,
    ),
    bad("started_before_completed", receipt__completed=STARTED, billing=PER_UNIT),
    bad("started_before_completed", " reversed", receipt__completed=STARTED - 1, billing=PER_UNIT),
    bad("completed_by_deadline", offer__deadline=COMPLETED - 1),
    bad("completed_by_epoch_time", epoch_time=COMPLETED - 1),
    bad("started_after_not_before", offer__not_before=STARTED + 1),
    bad("started_after_claim", claim_time=STARTED + 1),
    bad("started_after_claim", " -1", receipt__started=R - 1),
    bad("claim_time_range", " -1", claim_time=R - 1),
    bad("deadline_range", " 2**48", offer__deadline=1 << 48),
    bad("epoch_time_range", " 2**48", epoch_time=1 << 48),
    bad("billing_known", billing=2),
    bad("billing_known", " -1", billing=R - 1),
    bad("units_within_seconds", receipt__completed=STARTED + 320_999),
    bad("job_commit", job_commit=1),
    bad("price_commit", price_commit=1),
    bad("receipt_commit", receipt_commit=1),
]


@pytest.fixture(scope="module")
def honest_proof() -> bytes:
    public, witness = make_statement()
    return prove(load_dev_proving_key(), public, witness, RANDOMNESS)


@pytest.mark.parametrize(("changes", "rule"), BAD_WITNESSES)
def test_a_bad_witness_proves_nothing(
    changes: dict[str, Any], rule: str, honest_proof: bytes
) -> None:
    public, witness = statement(changes)
    with pytest.raises(UnsatisfiedStatement) as caught:
        prove(load_dev_proving_key(), public, witness, RANDOMNESS)
    evaluator = evaluate(public, witness)
    assert caught.value.rules and evaluator.broken_rules
    # A number beyond its range is large to the one and negative to the other, so they may name
    # different rules.
    assert rule in {*caught.value.rules, *evaluator.broken_rules}
    forced = compute_proof(load_dev_proving_key(), evaluator, RANDOMNESS)
    assert len(forced) == len(honest_proof)
    assert not verify(load_dev_verifying_key(), public.as_tuple(), forced)
    assert not verify(load_dev_verifying_key(), public.as_tuple(), honest_proof)


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("name", PublicInputs.__struct_fields__)
def test_a_proof_serves_no_other_public_inputs(name: str, change: int, honest_proof: bytes) -> None:
    public, _ = make_statement()
    assert verify(load_dev_verifying_key(), public.as_tuple(), honest_proof)
    other = replace(public, **{name: (getattr(public, name) + change) % R})
    assert not verify(load_dev_verifying_key(), other.as_tuple(), honest_proof)


def test_a_proof_pays_nobody_else(honest_proof: bytes) -> None:
    """Not even with a receipt commitment made for the other payee."""
    other, witness = make_statement(payee=PAYEE + 1)
    assert not verify(load_dev_verifying_key(), other.as_tuple(), honest_proof)
    public, _ = make_statement()
    with pytest.raises(UnsatisfiedStatement) as caught:
        prove(load_dev_proving_key(), replace(public, payee=PAYEE + 1), witness, RANDOMNESS)
    assert caught.value.rules == ("receipt_commit",)


def test_claims_of_later_leases_keep_their_own_time() -> None:
    """The same work, done before the lease in question, is not its work."""
    public, witness = make_statement(claim_time=CLAIM_TIME + 60_000)
    with pytest.raises(UnsatisfiedStatement) as caught:
        prove(load_dev_proving_key(), public, witness, RANDOMNESS)
    assert caught.value.rules == ("started_after_claim",)
