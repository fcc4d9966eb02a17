import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import crypto, receipts
from ledger.receipts import ReceiptCore, encode_core, parse_receipt, sign_receipt
from ledger.rejection import Rejected, Rejection
from tests.ledger.edwards import encode_small_order
from tests.ledger.world import CHAIN, CLIENT, MINER, RIVAL

CORE = ReceiptCore(
    chain_id=CHAIN.hex(),
    receipt_id="receipt_" + "ab" * 32,
    job_id="job_" + "ab" * 32,
    provider=crypto.format_address(MINER.address),
    miner_id="alpha",
    claim_number=37,
    client=crypto.format_address(CLIENT.address),
    service="llm_inference",
    units=120,
    unit_type="token",
    price=100,
    amount=12_000,
    model="smollm2-135m@" + "00" * 32,
    engine="engine 1.0 (build 7)",
    device="CPU of a test",
    verification="logit_gap",
    pins={"build": "engine 1.0 (build 7)", "seed": "7", "threads": "1"},
    input_hash="11" * 32,
    result_hash="22" * 32,
    started_at=1_800_000_001,
    completed_at=1_800_000_003,
    started_ms=1_800_000_001_250,
    completed_ms=1_800_000_003_500,
    receipt_commit="33" * 32,
    energy_joules=41,
)
DOCUMENT = sign_receipt(MINER.seed, CORE)


def refuse(document: dict[Any, Any]) -> Rejection:
    with pytest.raises(Rejected) as refused:
        parse_receipt(document)
    return refused.value.reason


def test_a_receipt_names_its_signer() -> None:
    assert parse_receipt(DOCUMENT) == (CORE, MINER.public)
    assert parse_receipt(json.loads(json.dumps(DOCUMENT))) == (CORE, MINER.public)
    assert set(DOCUMENT) == {*ReceiptCore.__struct_fields__, "signature", "attestations"}


def test_any_verifier_of_canonical_json_can_check_it() -> None:
    """Sorted keys without spaces are enough: no float, no null, nothing but ASCII."""
    core = {key: value for key, value in DOCUMENT.items() if key not in receipts.UNSIGNED_MEMBERS}
    plain = json.dumps(core, sort_keys=True, separators=(",", ":")).encode()
    assert plain == encode_core(CORE)
    signed = receipts.decode_base64url(DOCUMENT["signature"]["sig"])
    assert crypto.is_valid_signature(MINER.public, plain, signed)


def test_attestations_are_outside_the_signature() -> None:
    assert parse_receipt({**DOCUMENT, "attestations": [{"type": "settlement"}]})[0] == CORE


@pytest.mark.parametrize("field", ReceiptCore.__struct_fields__)
def test_each_member_is_signed(field: str) -> None:
    value = DOCUMENT[field]
    changed = {**value, "seed": "8"} if isinstance(value, dict) else value + type(value)("1")
    assert refuse({**DOCUMENT, field: changed}) in {Rejection.BAD_SIGNATURE, Rejection.MALFORMED}
    missing = {key: other for key, other in DOCUMENT.items() if key != field}
    if field == "energy_joules":
        assert refuse(missing) is Rejection.BAD_SIGNATURE
    elif field != "version":
        assert refuse(missing) is Rejection.MALFORMED


def test_a_member_that_is_absent_is_absent_from_what_is_signed() -> None:
    core = msgspec.structs.replace(CORE, energy_joules=msgspec.UNSET)
    document = sign_receipt(MINER.seed, core)
    assert "energy_joules" not in document and b"energy" not in encode_core(core)
    assert parse_receipt(document) == (core, MINER.public)
    longer = {**document, "signed_payload": encode_core(core).decode()}
    assert receipts.read_receipt(longer) == (core, MINER.public)
    with pytest.raises(Rejected, match="energy_joules was not signed"):
        receipts.read_receipt({**longer, "energy_joules": 41})


def test_pins_are_signed_in_the_order_of_their_names() -> None:
    pins = {"threads": "1", "seed": "7", "build": "engine 1.0 (build 7)"}
    assert encode_core(msgspec.structs.replace(CORE, pins=pins)) == encode_core(CORE)
    full = {f"p{number}": "x" * 200 for number in range(16)}
    document = sign_receipt(MINER.seed, msgspec.structs.replace(CORE, pins=full))
    assert parse_receipt(document)[0].pins == full


@pytest.mark.parametrize(
    "members",
    [
        {"units": 2**53},
        {"amount": 2**63},
        {"units": -1},
        {"units": True},
        {"units": 1.0},
        {"units": None},
        {"units": "120"},
        {"version": 2},
        {"model": "\ud800"},
        {"model": "modèle"},
        {"model": "model\n"},
        {"engine": "engine \u00ae 1.0"},
        {"verification": "certain"},
        {"verification": None},
        {"energy_joules": None},
        {"energy_joules": -1},
        {"pins": None},
        {"pins": []},
        {"pins": {"seed": 7}},
        {"pins": {"seed": None}},
        {"pins": {"seed": {"of": "7"}}},
        {"pins": {"seed": "sieben\n"}},
        {"pins": {"seed": "é"}},
        {"pins": {"Seed": "7"}},
        {"pins": {"seed\n": "7"}},
        {"pins": {"": "7"}},
        {"pins": {"s" * 33: "7"}},
        {"pins": {"seed": "7" * 201}},
        {"pins": {f"p{number}": "" for number in range(17)}},
        {"extra": 1},
        {5: 1},
        {"signature": None},
        {"signature": []},
        {"signature": {}},
        {"signature": {**DOCUMENT["signature"], "alg": "none"}},
        {"signature": {**DOCUMENT["signature"], "alg": ["Ed25519"]}},
        {"signature": {**DOCUMENT["signature"], "public_key": "AAAA"}},
        {"signature": {**DOCUMENT["signature"], "sig": "é"}},
        {"signature": {**DOCUMENT["signature"], "sig": 5}},
        {"signature": {**DOCUMENT["signature"], "sig": DOCUMENT["signature"]["sig"] + "=="}},
        {"signature": {**DOCUMENT["signature"], "sig": DOCUMENT["signature"]["sig"] + "\n"}},
    ],
)
def test_what_is_no_receipt(members: dict[Any, Any]) -> None:
    assert refuse({**DOCUMENT, **members}) is Rejection.MALFORMED


def test_a_signature_by_another_key_is_that_keys_receipt() -> None:
    core, signer = parse_receipt(sign_receipt(RIVAL.seed, CORE))
    assert (core, signer) == (CORE, RIVAL.public)
    key = DOCUMENT["signature"] | {
        "key_id": receipts.encode_base64url(RIVAL.public),
        "public_key": receipts.encode_base64url(RIVAL.public),
    }
    assert refuse({**DOCUMENT, "signature": key}) is Rejection.BAD_SIGNATURE


def test_keys_of_small_order_are_refused() -> None:
    for data in encode_small_order():
        text = receipts.encode_base64url(data)
        signature = {
            "alg": "Ed25519",
            "key_id": text,
            "public_key": text,
            "sig": receipts.encode_base64url(data + bytes(32)),
        }
        assert refuse({**DOCUMENT, "signature": signature}) is Rejection.BAD_SIGNATURE


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    ),
    st.sampled_from([*ReceiptCore.__struct_fields__, "signature", "attestations", "x"]),
)
def test_any_member_is_answered(value: object, field: str) -> None:
    try:
        core, signer = parse_receipt({**DOCUMENT, field: value})
    except Rejected:
        return
    assert (core, signer) == (CORE, MINER.public)


@given(st.binary(max_size=70))
def test_base64url_has_one_form(data: bytes) -> None:
    text = receipts.encode_base64url(data)
    assert receipts.decode_base64url(text) == data
    for other in (text + "=", text + " ", "\n" + text, text + "*", text + "A" * 4):
        if other != text:
            try:
                assert receipts.decode_base64url(other) != data
            except ValueError:
                continue


def test_the_largest_numbers_are_signed_exactly() -> None:
    core = msgspec.structs.replace(CORE, amount=2**53 - 1)
    assert parse_receipt(sign_receipt(MINER.seed, core))[0].amount == 2**53 - 1
    assert sha256(encode_core(core)).digest() != sha256(encode_core(CORE)).digest()
