"""Which verifying keys are refused, and why it matters."""

import json
from typing import Any

import msgspec
import pytest
from py_arkworks_bls12381 import G1Point, Scalar

from tests.zk.samples import make_statement
from tests.zk.test_points import G1_IDENTITY, G2_IDENTITY, find_off_curve, find_outside_subgroup
from zk.devkey import (
    DEV_KEY_ID,
    DEV_VERIFYING_KEY_FILE,
    is_dev_key,
    load_dev_proving_key,
    load_dev_verifying_key,
)
from zk.devkey import _read_key_file as read_key_file
from zk.points import negate
from zk.verifier import verify
from zk.verifying_key import (
    GENERATOR_G1,
    GENERATOR_G2,
    KEY_BYTES,
    InvalidKeyError,
    VerifyingKey,
)

replace = msgspec.structs.replace
KEY = load_dev_verifying_key()
DOCUMENT = read_key_file(DEV_VERIFYING_KEY_FILE)


def test_both_forms_name_the_same_key() -> None:
    again = VerifyingKey.from_bytes(KEY.to_bytes())
    assert again == KEY == load_dev_proving_key().verifying_key
    assert again.key_id == KEY.key_id == DEV_KEY_ID
    assert len(KEY.to_bytes()) == KEY_BYTES


def test_the_dev_key_is_known_as_such() -> None:
    assert is_dev_key(KEY.key_id)
    assert not is_dev_key(bytes(32))


def forge(key: VerifyingKey, public: tuple[int, ...]) -> bytes:
    """A proof of anything under gamma = delta: A = alpha, B = beta, C = -L."""
    points = [G1Point.from_compressed_bytes(point) for point in key.inputs]
    total = points[0]
    for point, value in zip(points[1:], public, strict=True):
        total = total + point * Scalar(value)
    return key.alpha + key.beta + (-total).to_compressed_bytes()


def test_with_gamma_equal_to_delta_anything_could_be_proved() -> None:
    public, _ = make_statement(amount=10**15)
    broken = replace(KEY, delta=KEY.gamma)
    assert verify(broken, public.as_tuple(), forge(broken, public.as_tuple()))
    assert not verify(KEY, public.as_tuple(), forge(KEY, public.as_tuple()))
    with pytest.raises(InvalidKeyError, match="forge"):
        VerifyingKey.from_bytes(broken.to_bytes())


OUTSIDE, OFF = dict(find_outside_subgroup()), dict(find_off_curve())
FORGED: list[tuple[str, dict[str, Any]]] = [
    ("delta equals gamma", {"delta": KEY.gamma}),
    ("delta equals gamma", {"delta": negate(KEY.gamma)}),
    ("delta equals gamma", {"gamma": KEY.delta}),
    ("delta is the generator", {"delta": GENERATOR_G2, "gamma": KEY.beta}),
    ("gamma is not the generator", {"gamma": KEY.beta}),
    ("gamma is not the generator", {"gamma": negate(GENERATOR_G2)}),
    ("first phase", {"alpha": GENERATOR_G1}),
    ("first phase", {"alpha": negate(GENERATOR_G1)}),
    ("first phase", {"beta": GENERATOR_G2}),
    ("share a point", {"inputs": (*KEY.inputs[:-1], KEY.inputs[0])}),
    ("share a point", {"inputs": (*KEY.inputs[:-1], negate(KEY.inputs[4]))}),
    ("identity", {"alpha": G1_IDENTITY}),
    ("identity", {"delta": G2_IDENTITY}),
    ("identity", {"inputs": (G1_IDENTITY, *KEY.inputs[1:])}),
    ("a point of the key", {"alpha": OUTSIDE["read_g1"]}),
    ("a point of the key", {"beta": OUTSIDE["read_g2"]}),
    ("a point of the key", {"inputs": (*KEY.inputs[:-1], OUTSIDE["read_g1"])}),
    ("a point of the key", {"alpha": OFF["read_g1"]}),
    ("a point of the key", {"delta": OFF["read_g2"]}),
]


@pytest.mark.parametrize(("reason", "changes"), FORGED)
def test_a_forged_key_is_refused(reason: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidKeyError, match=reason):
        VerifyingKey.from_bytes(replace(KEY, **changes).to_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        KEY.to_bytes()[:-1],
        KEY.to_bytes() + b"\x00",
        b"\x00" + KEY.to_bytes()[1:],
        replace(KEY, inputs=KEY.inputs[:-1]).to_bytes(),
        replace(KEY, inputs=(*KEY.inputs, KEY.alpha)).to_bytes(),
    ],
)
def test_other_bytes_are_no_key(data: bytes) -> None:
    with pytest.raises(InvalidKeyError, match="not a verifying key"):
        VerifyingKey.from_bytes(data)


def changed(**values: Any) -> bytes:
    return json.dumps({**json.loads(DOCUMENT), **values}).encode()


IC = json.loads(DOCUMENT)["IC"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[" * 2000,
        DOCUMENT[:-5],
        b" " * 70_000,
        changed(protocol="plonk"),
        changed(curve="bn128"),
        changed(nPublic=8),
        changed(IC=IC[:-1]),
        changed(IC=[*IC, IC[0]]),
        changed(IC=[[IC[0][0], IC[0][1], "2"], *IC[1:]]),
        changed(IC=[["0" + IC[0][0], IC[0][1], "1"], *IC[1:]]),
        changed(IC=[["-1", IC[0][1], "1"], *IC[1:]]),
        changed(IC=[["9" * 116, IC[0][1], "1"], *IC[1:]]),
        changed(IC=[["9" * 5000, IC[0][1], "1"], *IC[1:]]),
        changed(IC=[["0", "1", "0"], *IC[1:]]),
        changed(IC=[[IC[0][0], IC[0][0], "1"], IC[0], *IC[2:]]),
        changed(other=1),
        changed(vk_alpha_1=None),
    ],
)
def test_other_documents_are_no_key(document: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        VerifyingKey.from_snarkjs(document)


def test_a_document_with_equal_gamma_and_delta_is_refused() -> None:
    with pytest.raises(InvalidKeyError, match="forge"):
        VerifyingKey.from_snarkjs(changed(vk_delta_2=json.loads(DOCUMENT)["vk_gamma_2"]))
