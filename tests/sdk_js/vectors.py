"""Signatures, hashes, proofs, keys and addresses, each with the verdict of the code in Python."""

import itertools
import json
import random
from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path
from typing import Any

import msgspec

from aitbc.errors import CLASS_OF_CODE, CLASS_OF_STATUS
from ledger import crypto
from ledger.rejection import Rejected
from tests import zk as zk_tests
from tests.aitbc.cli.settled_receipt import MINER, make_settled_receipt
from tests.ledger.edwards import (
    ORDER,
    add,
    decode,
    encode,
    encode_small_order,
    find_torsion,
    multiply,
)
from tests.sdk_js.records import make_records
from tests.zk.test_points import find_with_small_x, plus_modulus
from tests.zk.test_verifier import KEY, make_item
from tests.zk.test_verifier_mutants import mutate_bytes, mutate_inputs, mutate_points
from tests.zk.test_verifying_key import FORGED
from zk.field import R
from zk.points import negate
from zk.poseidon import poseidon
from zk.verifier import Item, verify

MUTANTS = 20
"""Of each kind: a proof takes JavaScript 15 ms."""
ADDRESSES = 20

replace = msgspec.structs.replace


def make_vectors() -> dict[str, Any]:
    """Return every vector, as JSON values."""
    return {
        "signatures": [
            {
                "key": key.hex(),
                "message": message.hex(),
                "signature": signature.hex(),
                "holds": crypto.is_valid_signature(key, message, signature),
            }
            for key, message, signature in _list_signatures()
        ],
        "poseidon": _list_hashes(),
        "key": KEY.to_bytes().hex(),
        "bad_keys": _list_bad_keys(),
        "proofs": [
            {
                "name": name,
                "inputs": [str(value) for value in public],
                "proof": proof.hex(),
                "holds": verify(KEY, public, proof),
            }
            for name, (public, proof) in _list_proofs()
        ],
        "addresses": _list_addresses(),
        "bad_addresses": _list_bad_addresses(),
        "error_codes": {code: kind.__name__ for code, kind in CLASS_OF_CODE.items()},
        "error_statuses": {str(each): kind.__name__ for each, kind in CLASS_OF_STATUS.items()},
        "records": make_records(),
        "receipt": make_settled_receipt().bundle["receipt"],
    }


Signed = tuple[bytes, bytes, bytes]


def _list_signatures() -> Iterator[Signed]:
    """Yield true signatures and those on which other verifiers differ."""
    public, message = crypto.compute_public_key(MINER), b"Zcash"
    true = crypto.sign(MINER, message)
    yield public, message, true
    yield public, b"", crypto.sign(MINER, b"")
    yield public, b"another", true
    for bit in range(0, 512, 7):
        flipped = bytearray(true)
        flipped[bit // 8] ^= 1 << bit % 8
        yield public, message, bytes(flipped)
    s = int.from_bytes(true[32:], "little")
    for factor in range(1, 16):
        if s + factor * ORDER < 1 << 256:
            yield public, message, true[:32] + (s + factor * ORDER).to_bytes(32, "little")
    small = encode_small_order()
    for key, commitment in itertools.product(small, small):
        yield key, message, commitment + bytes(32)
    for value in (2, 2**255 - 19, 2**255 - 18, 2**255 - 1, 2**256 - 1):
        yield value.to_bytes(32, "little"), message, true
    yield public[:-1], message, true
    yield public, message, true[:-1]
    yield public, message, bytes(64)
    yield from _list_torsion()


def _list_torsion() -> Iterator[Signed]:
    """Yield keys and commitments of mixed order, signed so that some equation holds."""
    secret, nonce = 12_345, 67_890
    generator = decode(bytes([0x58]) + bytes([0x66]) * 31)
    for first, second in itertools.product(find_torsion(), find_torsion()):
        key = encode(add(multiply(secret, generator), first))
        commitment = encode(add(multiply(nonce, generator), second))
        challenge = int.from_bytes(sha512(commitment + key + b"m").digest(), "little")
        s = (nonce + challenge * secret) % ORDER
        yield key, b"m", commitment + s.to_bytes(32, "little")


def _list_hashes() -> list[dict[str, Any]]:
    """Return the frozen vectors, and one for each number of inputs."""
    path = Path(str(zk_tests.__file__)).with_name("poseidon_vectors.json")
    frozen = json.loads(path.read_text())["vectors"]
    draw = random.Random(2_019)
    own = [[draw.randrange(R) for _ in range(count)] for count in range(2, 17)]
    return [
        *({"inputs": each["inputs"], "hash": each["output"]} for each in frozen),
        *({"inputs": list(map(str, each)), "hash": str(poseidon(each))} for each in own),
    ]


def _list_bad_keys() -> dict[str, str]:
    forged = {
        f"{reason} {number}": replace(KEY, **changes).to_bytes().hex()
        for number, (reason, changes) in enumerate(FORGED)
    }
    whole = KEY.to_bytes()
    return {**forged, "cut": whole[:-1].hex(), "long": whole.hex() + "00", "empty": ""}


def _list_proofs() -> Iterator[tuple[str, Item]]:
    true = make_item(100)
    public, proof = true
    yield "true", true
    yield "both negated", (public, negate(proof[:48]) + negate(proof[48:144]) + proof[144:])
    yield "one negated", (public, negate(proof[:48]) + proof[48:])
    yield "too few inputs", (public[:-1], proof)
    yield "too many inputs", ((*public, 0), proof)
    for place in range(len(public)):
        wrapped = tuple(value + R * (n == place) for n, value in enumerate(public))
        yield f"input {place} + R", (wrapped, proof)
    small = find_with_small_x()
    yield "A is another point", (public, small + proof[48:])
    yield "A with its x + p", (public, plus_modulus(small, 0) + proof[48:])
    yield "A is the identity", (public, b"\xc0" + bytes(47) + proof[48:])
    yield "a byte too few", (public, proof[:-1])
    draw = random.Random(2_026)
    for mutate in (mutate_inputs, mutate_points, mutate_bytes):
        for number in range(MUTANTS):
            yield f"{mutate.__name__} {number}", mutate(draw, true)


def _list_addresses() -> list[dict[str, str]]:
    draw = random.Random(350)
    drawn = [bytes(20), b"\xff" * 20, *(draw.randbytes(20) for _ in range(ADDRESSES))]
    return [{"bytes": each.hex(), "text": crypto.format_address(each)} for each in drawn]


def _list_bad_addresses() -> list[str]:
    """Return texts beside addresses, each of which Python refuses."""
    true = crypto.format_address(bytes(range(20)))
    texts = ["", "ait1", true.upper(), true + "q", true[:-1], "bit" + true[3:], " " + true]
    texts += [true[:n] + ("q" if true[n] != "q" else "p") + true[n + 1 :] for n in range(4, 40)]
    for text in texts:
        try:
            crypto.parse_address(text)
        except Rejected:
            continue
        raise AssertionError(text)
    return texts
