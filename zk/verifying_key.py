"""Decides which verifying keys are acceptable, and the one encoding that names a key.

Rules P5.1 to P5.4 of docs/protocol/proof.md. A key with gamma = delta or delta = generator lets
anyone prove anything; real systems were drained through such keys, so a key is checked here,
before it can verify, and not by whoever thinks of it.
"""

import hashlib
from functools import cached_property
from typing import Annotated, Final, Literal

import msgspec

from zk.backend_arkworks import ARKWORKS
from zk.points import BASE_FIELD, G1_BYTES, G2_BYTES, compress_g1, compress_g2
from zk.statement import PUBLIC_INPUTS

KEY_TAG: Final = b"aitbc/verifying-key/bls12-381/v1\x00"
POINT_COUNT: Final = PUBLIC_INPUTS + 1
KEY_BYTES: Final = len(KEY_TAG) + 2 + (1 + POINT_COUNT) * G1_BYTES + 3 * G2_BYTES
MAX_JSON_BYTES: Final = 64 * 1024

GENERATOR_G1: Final = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)
GENERATOR_G2: Final = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)


class InvalidKeyError(ValueError):
    """The bytes are no verifying key, or one that must not be used."""


class VerifyingKey(msgspec.Struct, frozen=True, dict=True):
    """Compressed points, checked. Make one with `from_bytes` or `from_snarkjs`."""

    alpha: bytes
    beta: bytes
    gamma: bytes
    delta: bytes
    inputs: tuple[bytes, ...]
    """The points of the constant 1 and of each public input: ten of them."""

    @cached_property
    def key_id(self) -> bytes:
        """sha256 of the canonical binary form."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        head = KEY_TAG + PUBLIC_INPUTS.to_bytes(2, "big")
        return head + b"".join((self.alpha, self.beta, self.gamma, self.delta, *self.inputs))

    @classmethod
    def from_bytes(cls, data: bytes) -> "VerifyingKey":
        """Read the canonical binary form.

        Raises:
            InvalidKeyError: any other bytes, or a key that fails the checks.
        """
        head = KEY_TAG + PUBLIC_INPUTS.to_bytes(2, "big")
        if len(data) != KEY_BYTES or not data.startswith(head):
            raise InvalidKeyError("not a verifying key of this statement")
        points = []
        position = len(head)
        for size in (G1_BYTES, G2_BYTES, G2_BYTES, G2_BYTES, *(G1_BYTES,) * POINT_COUNT):
            points.append(data[position : position + size])
            position += size
        return _checked(cls(points[0], points[1], points[2], points[3], tuple(points[4:])))

    @classmethod
    def from_snarkjs(cls, document: bytes) -> "VerifyingKey":
        """Read the `verification_key.json` that snarkjs exports.

        Raises:
            InvalidKeyError: any other document, or a key that fails the checks.
        """
        if len(document) > MAX_JSON_BYTES:
            raise InvalidKeyError("the verifying key document is too long")
        try:
            parsed = msgspec.json.decode(document, type=_SnarkjsKey)
            return _checked(
                cls(
                    alpha=read_snarkjs_g1(parsed.vk_alpha_1),
                    beta=read_snarkjs_g2(parsed.vk_beta_2),
                    gamma=read_snarkjs_g2(parsed.vk_gamma_2),
                    delta=read_snarkjs_g2(parsed.vk_delta_2),
                    inputs=tuple(read_snarkjs_g1(point) for point in parsed.IC),
                )
            )
        except InvalidKeyError:
            raise
        except ValueError as error:
            raise InvalidKeyError(f"not a verifying key: {error}") from error


def _checked(key: VerifyingKey) -> VerifyingKey:
    """The key itself, after every check of rule P5.3."""
    if len(key.inputs) != POINT_COUNT:
        raise InvalidKeyError(f"a key has {POINT_COUNT} input points, got {len(key.inputs)}")
    try:
        for point in (key.alpha, *key.inputs):
            ARKWORKS.read_g1(point)
        for point in (key.beta, key.gamma, key.delta):
            ARKWORKS.read_g2(point)
    except ValueError as error:
        raise InvalidKeyError(f"a point of the key is refused: {error}") from error
    if _x(key.delta) == _x(key.gamma):
        raise InvalidKeyError("delta equals gamma, up to sign: anyone could forge proofs")
    if _x(key.delta) == _x(GENERATOR_G2):
        raise InvalidKeyError("delta is the generator: the key had no second phase")
    if key.gamma != GENERATOR_G2:
        raise InvalidKeyError("gamma is not the generator")
    if _x(key.alpha) == _x(GENERATOR_G1) or _x(key.beta) == _x(GENERATOR_G2):
        raise InvalidKeyError("alpha or beta is the generator: the key had no first phase")
    if len({_x(point) for point in key.inputs}) != POINT_COUNT:
        raise InvalidKeyError("two public inputs share a point, up to sign")
    return key


def _x(point: bytes) -> bytes:
    """The point without its sign: equal for a point and its negative."""
    return bytes((point[0] & 0x1F, *point[1:]))


Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,115})$")]
SnarkjsG1 = tuple[Decimal, Decimal, Literal["1"]]
SnarkjsG2 = tuple[
    tuple[Decimal, Decimal], tuple[Decimal, Decimal], tuple[Literal["1"], Literal["0"]]
]


class _SnarkjsKey(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    protocol: Literal["groth16"]
    curve: Literal["bls12381"]
    nPublic: Literal[9]
    vk_alpha_1: SnarkjsG1
    vk_beta_2: SnarkjsG2
    vk_gamma_2: SnarkjsG2
    vk_delta_2: SnarkjsG2
    IC: Annotated[list[SnarkjsG1], msgspec.Meta(min_length=10, max_length=10)]
    vk_alphabeta_12: msgspec.Raw = msgspec.Raw(b"null")
    """A pairing that snarkjs stores beside its factors; it is computed here instead."""


def read_snarkjs_g1(point: SnarkjsG1) -> bytes:
    """Compressed form of a point in snarkjs' JSON. Raises ValueError."""
    return compress_g1(_coordinate(point[0]), _coordinate(point[1]))


def read_snarkjs_g2(point: SnarkjsG2) -> bytes:
    """The same in the second group; pairs are (real, imaginary)."""
    x, y = point[0], point[1]
    return compress_g2(
        (_coordinate(x[0]), _coordinate(x[1])), (_coordinate(y[0]), _coordinate(y[1]))
    )


def _coordinate(text: str) -> int:
    value = int(text)
    if value >= BASE_FIELD:
        raise ValueError("a coordinate is outside the base field")
    return value
