"""Decides whether a settlement proof holds. Pure and deterministic.

Section P4 of docs/protocol/proof.md. Groth16 over BLS12-381: a proof (A, B, C) of public inputs x
holds when e(A, B) = e(alpha, beta) * e(L, gamma) * e(C, delta), with L the combination of the
key's input points with (1, x).
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from zk.backend_arkworks import ARKWORKS
from zk.field import R, encode_field
from zk.points import G1_BYTES, G2_BYTES, Backend, negate
from zk.statement import PUBLIC_INPUTS
from zk.verifying_key import VerifyingKey

PROOF_BYTES: Final = 2 * G1_BYTES + G2_BYTES
BATCH_TAG: Final = b"aitbc/proof-batch/v1\x00"
COEFFICIENT_BYTES: Final = 16

Item: TypeAlias = tuple[tuple[int, ...], bytes]
AnyBackend: TypeAlias = Backend[Any, Any]


class _PreparedKey(NamedTuple):
    """A key's points in one backend's form."""

    negative_alpha: Any
    beta: Any
    negative_gamma: Any
    negative_delta: Any
    inputs: tuple[Any, ...]
    alpha_beta: Any
    """e(alpha, beta): a third of a verification, the same for every proof."""


class _ReadItem(NamedTuple):
    """An item of a batch that is well formed; `place` is where it stands in the batch."""

    place: int
    coefficient: int
    public: tuple[int, ...]
    a: Any
    b: Any
    c: Any


def verify(
    key: VerifyingKey, public: tuple[int, ...], proof: bytes, backend: AnyBackend = ARKWORKS
) -> bool:
    """True when `proof` (192 bytes: A, B, C compressed) proves the nine public inputs."""
    item = _read_item(backend, 0, 1, (public, proof))
    if item is None:
        return False
    return _holds_alone(_prepare(key, backend), item, backend)


def verify_batch(
    key: VerifyingKey, items: Sequence[Item], backend: AnyBackend = ARKWORKS
) -> list[bool]:
    """The verdict on each item, as `verify` would give it alone.

    One product of pairings over a linear combination with coefficients of 128 bits; where it
    fails, halves are tried until the false ones stand alone. The coefficients are hashed from
    the whole batch, so nobody can choose a proof after its coefficient, and every node gets the
    same ones.
    """
    prepared = _prepare(key, backend)
    coefficients = _compute_coefficients(key, items)
    read = [
        _read_item(backend, place, coefficient, item)
        for place, (coefficient, item) in enumerate(zip(coefficients, items, strict=True))
    ]
    verdicts = [False] * len(items)
    pending = [([item for item in read if item is not None], False)]
    while pending:
        group, is_known_false = pending.pop()
        if not group:
            continue
        if not is_known_false and _holds(prepared, group, backend):
            for item in group:
                verdicts[item.place] = True
        elif len(group) > 1:
            middle = len(group) // 2
            left, right = group[:middle], group[middle:]
            # The product of the halves is the whole: where one half holds, the other does not.
            if _holds(prepared, left, backend):
                for item in left:
                    verdicts[item.place] = True
                pending.append((right, True))
            else:
                pending += [(left, True), (right, False)]
    return verdicts


def _holds(prepared: _PreparedKey, group: Sequence[_ReadItem], backend: AnyBackend) -> bool:
    if len(group) == 1:
        return _holds_alone(prepared, group[0], backend)
    return _holds_together(prepared, group, backend)


def _holds_alone(prepared: _PreparedKey, item: _ReadItem, backend: AnyBackend) -> bool:
    left = backend.combine(prepared.inputs, [1, *item.public])
    product = backend.pair(
        [(item.a, item.b), (left, prepared.negative_gamma), (item.c, prepared.negative_delta)]
    )
    return bool(product == prepared.alpha_beta)


def _holds_together(
    prepared: _PreparedKey, group: Sequence[_ReadItem], backend: AnyBackend
) -> bool:
    """The equations of all items, each to the power of its coefficient, in one product."""
    coefficients = [item.coefficient for item in group]
    total = sum(coefficients)
    sums = [
        sum(item.coefficient * item.public[number] for item in group) % R
        for number in range(PUBLIC_INPUTS)
    ]
    left = backend.combine(prepared.inputs, [total % R, *sums])
    right = backend.combine([item.c for item in group], coefficients)
    # The prepared pairing stands for one power of e(alpha, beta); this supplies the others.
    alpha = backend.combine([prepared.negative_alpha], [(total - 1) % R])
    pairs = [(backend.combine([item.a], [item.coefficient]), item.b) for item in group]
    pairs += [
        (left, prepared.negative_gamma),
        (right, prepared.negative_delta),
        (alpha, prepared.beta),
    ]
    return bool(backend.pair(pairs) == prepared.alpha_beta)


def _read_item(backend: AnyBackend, place: int, coefficient: int, item: Item) -> _ReadItem | None:
    """None for whatever is not the canonical form of nine inputs and three points."""
    public, proof = item
    if not _is_well_formed(public, proof):
        return None
    try:
        a = backend.read_g1(proof[:G1_BYTES])
        c = backend.read_g1(proof[-G1_BYTES:])
        b = backend.read_g2(proof[G1_BYTES:-G1_BYTES])
    except ValueError:
        return None
    return _ReadItem(place, coefficient, public, a, b, c)


def _is_well_formed(public: tuple[int, ...], proof: bytes) -> bool:
    return (
        len(proof) == PROOF_BYTES
        and len(public) == PUBLIC_INPUTS
        and all(type(value) is int and 0 <= value < R for value in public)
    )


def _compute_coefficients(key: VerifyingKey, items: Sequence[Item]) -> list[int]:
    """One non-zero number of 128 bits for each item, from a hash over everything."""
    whole = hashlib.sha256(BATCH_TAG + key.key_id + len(items).to_bytes(8, "big"))
    for public, proof in items:
        if _is_well_formed(public, proof):
            whole.update(b"\x01" + b"".join(map(encode_field, public)) + proof)
        else:
            whole.update(b"\x00")
    seed = whole.digest()
    digests = (hashlib.sha256(seed + i.to_bytes(8, "big")).digest() for i in range(len(items)))
    return [max(1, int.from_bytes(digest[:COEFFICIENT_BYTES], "big")) for digest in digests]


@lru_cache(maxsize=16)
def _prepare(key: VerifyingKey, backend: AnyBackend) -> _PreparedKey:
    beta = backend.read_g2(key.beta)
    return _PreparedKey(
        negative_alpha=backend.read_g1(negate(key.alpha)),
        beta=beta,
        negative_gamma=backend.read_g2(negate(key.gamma)),
        negative_delta=backend.read_g2(negate(key.delta)),
        inputs=tuple(backend.read_g1(point) for point in key.inputs),
        alpha_beta=backend.pair([(backend.read_g1(key.alpha), beta)]),
    )
