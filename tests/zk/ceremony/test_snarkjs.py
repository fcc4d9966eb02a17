"""The outside check: snarkjs accepts our proofs and we accept its proofs, under the same key."""

import json
from pathlib import Path

import pytest
from py_arkworks_bls12381 import G1Point, G2Point

from tests.zk.samples import RANDOMNESS, make_statement
from zk.ceremony.snarkjs import Snarkjs, SnarkjsError
from zk.circuit import build_r1cs, evaluate
from zk.devkey import (
    DEV_PROVING_KEY_FILE,
    DEV_VERIFYING_KEY_FILE,
    load_dev_proving_key,
    load_dev_verifying_key,
)
from zk.prover import prove
from zk.r1cs import encode_witness
from zk.statement import PublicInputs
from zk.verifier import verify
from zk.verifying_key import read_snarkjs_g1, read_snarkjs_g2

KEYS = Path(__file__).parents[3] / "zk" / "keys"
PUBLIC, WITNESS = make_statement()


def write_proof(folder: Path, public: PublicInputs, proof: bytes) -> tuple[Path, Path]:
    """Our bytes as the two documents that snarkjs reads."""
    a = G1Point.from_compressed_bytes(proof[:48]).to_xy_bytes_be()
    b = G2Point.from_compressed_bytes(proof[48:144]).to_xy_bytes_be()
    c = G1Point.from_compressed_bytes(proof[144:]).to_xy_bytes_be()
    first, second, third = (
        [str(int.from_bytes(data[at : at + 48], "big")) for at in range(0, len(data), 48)]
        for data in (a, b, c)
    )
    document = {
        "protocol": "groth16",
        "curve": "bls12381",
        "pi_a": [*first, "1"],
        "pi_b": [second[:2], second[2:], ["1", "0"]],
        "pi_c": [*third, "1"],
    }
    (folder / "proof.json").write_text(json.dumps(document))
    (folder / "public.json").write_text(json.dumps([str(value) for value in public.as_tuple()]))
    return folder / "public.json", folder / "proof.json"


def test_snarkjs_accepts_our_proof(snarkjs: Snarkjs, tmp_path: Path) -> None:
    proof = prove(load_dev_proving_key(), PUBLIC, WITNESS, RANDOMNESS)
    documents = write_proof(tmp_path, PUBLIC, proof)
    output = snarkjs.run("groth16", "verify", KEYS / DEV_VERIFYING_KEY_FILE, *documents)
    assert "OK!" in output


def test_snarkjs_refuses_our_proof_of_something_else(snarkjs: Snarkjs, tmp_path: Path) -> None:
    proof = prove(load_dev_proving_key(), PUBLIC, WITNESS, RANDOMNESS)
    other, _ = make_statement(amount=PUBLIC.amount + 1)
    documents = write_proof(tmp_path, other, proof)
    with pytest.raises(SnarkjsError, match="Invalid proof"):
        snarkjs.run("groth16", "verify", KEYS / DEV_VERIFYING_KEY_FILE, *documents)


def test_we_accept_the_proof_of_snarkjs(snarkjs: Snarkjs, tmp_path: Path) -> None:
    witness_file, proof_file = tmp_path / "witness.wtns", tmp_path / "proof.json"
    public_file = tmp_path / "public.json"
    witness_file.write_bytes(encode_witness(evaluate(PUBLIC, WITNESS).witness))
    zkey = KEYS / DEV_PROVING_KEY_FILE
    snarkjs.run("groth16", "prove", zkey, witness_file, proof_file, public_file)
    document = json.loads(proof_file.read_bytes())
    public = tuple(int(value) for value in json.loads(public_file.read_bytes()))
    assert public == PUBLIC.as_tuple()
    proof = (
        read_snarkjs_g1(document["pi_a"])
        + read_snarkjs_g2(document["pi_b"])
        + read_snarkjs_g1(document["pi_c"])
    )
    assert verify(load_dev_verifying_key(), public, proof)


def test_snarkjs_finds_our_witness_right_and_a_bad_one_wrong(
    snarkjs: Snarkjs, tmp_path: Path
) -> None:
    circuit, witness_file = tmp_path / "settlement.r1cs", tmp_path / "witness.wtns"
    circuit.write_bytes(build_r1cs())
    witness_file.write_bytes(encode_witness(evaluate(PUBLIC, WITNESS).witness))
    assert "WITNESS IS CORRECT" in snarkjs.run("wtns", "check", circuit, witness_file)
    bad, _ = make_statement(amount=PUBLIC.amount + 1)
    witness_file.write_bytes(encode_witness(evaluate(bad, WITNESS).witness))
    with pytest.raises(SnarkjsError, match="WITNESS"):
        snarkjs.run("wtns", "check", circuit, witness_file)


def test_a_failure_is_told(snarkjs: Snarkjs, tmp_path: Path) -> None:
    with pytest.raises(SnarkjsError, match="zkey verify failed"):
        snarkjs.run("zkey", "verify", tmp_path / "no.r1cs", tmp_path / "no.ptau", tmp_path / "no")
