"""The Merkle tree over a list: roots of a block's transactions and outcomes (rule M1).

RFC 6962 shape (leaf and node hashes are domain-separated, no leaf is ever duplicated), and the
root also binds the number of leaves, so that two lists never share one (CVE-2012-2459).
"""

from collections.abc import Sequence
from hashlib import sha256

from ledger.types import Counter, Hash, Record

_LEAF = b"\x00"
_NODE = b"\x01"
_ROOT = b"\x02"


class InclusionProof(Record, frozen=True):
    """The siblings from a leaf up to the root of a list of `count` leaves."""

    index: Counter
    count: Counter
    siblings: tuple[Hash, ...]


def compute_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root (32 bytes) over the given leaf contents."""
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        level = _compute_parents(level)
    return _seal(len(leaves), level[0] if level else bytes(32))


def prove_inclusion(leaves: Sequence[bytes], index: int) -> InclusionProof:
    """Return the proof that the leaf at `index` is in the list."""
    assert 0 <= index < len(leaves)
    siblings = []
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    position = index
    while len(level) > 1:
        sibling = position ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        level = _compute_parents(level)
        position >>= 1
    return InclusionProof(index, len(leaves), tuple(siblings))


def is_included(leaf: bytes, proof: InclusionProof, root: bytes) -> bool:
    """Tell whether a leaf's content is at its index under the root."""
    if proof.index >= proof.count or len(proof.siblings) > 64:
        return False
    node = sha256(_LEAF + leaf).digest()
    position, width = proof.index, proof.count
    siblings = iter(proof.siblings)
    while width > 1:
        if position ^ 1 < width:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            left, right = (sibling, node) if position & 1 else (node, sibling)
            node = sha256(_NODE + left + right).digest()
        position >>= 1
        width = (width + 1) >> 1
    return next(siblings, None) is None and _seal(proof.count, node) == root


def _compute_parents(level: list[bytes]) -> list[bytes]:
    parents = [
        sha256(_NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)
    ]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def _seal(count: int, top: bytes) -> bytes:
    return sha256(_ROOT + count.to_bytes(8, "big") + top).digest()
