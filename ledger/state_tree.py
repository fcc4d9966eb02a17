"""The incremental Merkle tree over the whole state (rules S4 to S6).

Each entry keeps the leaf it was created at. A node holds the hashes of up to sixteen children, so
updating k of n leaves touches at most k log16 n nodes, and a store keeps one row for each. The root
binds the number of leaves (CVE-2012-2459).
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from ledger.types import Counter, Record

ARITY: Final = 16
_HASH: Final = 32

NodeKey = tuple[int, int]
"""(level, index): level 0 holds leaf hashes."""

ReadNode = Callable[[int, int], bytes | None]


class StateProof(Record, frozen=True):
    """The nodes on the way from a leaf to the root of a state with `count` entries."""

    leaf: Counter
    count: Counter
    nodes: tuple[Annotated[bytes, Meta(min_length=32, max_length=ARITY * _HASH)], ...]


def hash_leaf(key: bytes, value: bytes) -> bytes:
    """Return the leaf hash of an entry: its key, length first, and its canonical value."""
    return sha256(b"\x10" + len(key).to_bytes(2, "big") + key + value).digest()


def update_tree(
    read_node: ReadNode, old_count: int, new_count: int, leaves: Iterable[tuple[int, bytes]]
) -> tuple[bytes, dict[NodeKey, bytes]]:
    """Return the new root and the nodes that changed, given the (leaf, hash) pairs that did.

    Every leaf from `old_count` to `new_count` must be among them.
    """
    changed = dict(leaves)
    written: dict[NodeKey, bytes] = {}
    level = 0
    old_width = old_count
    while True:
        grouped: dict[int, list[tuple[int, bytes]]] = {}
        for index, child in changed.items():
            grouped.setdefault(index // ARITY, []).append((index % ARITY, child))
        if old_width == 1 and level > 0 and 0 not in changed:
            # The old root becomes the first child of a level that did not exist before.
            top = read_node(level - 1, 0)
            assert top is not None
            grouped.setdefault(0, []).append((0, hash_node(top)))
        changed = {}
        for index, children in grouped.items():
            node = bytearray(read_node(level, index) or b"")
            for slot, child in sorted(children):
                node[slot * _HASH : (slot + 1) * _HASH] = child
            written[level, index] = bytes(node)
            changed[index] = hash_node(node)
        level += 1
        old_width = -(-old_width // ARITY)
        if _width(new_count, level) <= 1:
            break
    if 0 in changed:
        return seal_root(new_count, changed[0]), written
    unchanged = read_node(level - 1, 0)
    return seal_root(new_count, hash_node(unchanged) if unchanged else bytes(_HASH)), written


def count_levels(count: int) -> int:
    """Return how many levels of nodes the tree over so many leaves has."""
    level = 1
    while _width(count, level) > 1:
        level += 1
    return level


def join_levels(
    hashes: Sequence[bytes], level: int, first: int, levels: int
) -> tuple[list[bytes], dict[NodeKey, bytes]]:
    """Join hashes that stand side by side, so many levels up; return the last hashes and the nodes.

    `hashes` are those under the nodes of `level`, leaf hashes for level 0, from the one with the
    number `first` on, which has no left neighbour in its last node: a tree is built piece by piece.
    """
    assert first % ARITY**levels == 0
    nodes: dict[NodeKey, bytes] = {}
    for each in range(level, level + levels):
        first //= ARITY
        joined = [b"".join(hashes[at : at + ARITY]) for at in range(0, len(hashes), ARITY)]
        nodes.update(((each, first + place), node) for place, node in enumerate(joined))
        hashes = [hash_node(node) for node in joined]
    return list(hashes), nodes


def seal_root(count: int, top: bytes) -> bytes:
    """Return the root over so many leaves from the hash of the last node (rule S5)."""
    return sha256(b"\x12" + count.to_bytes(8, "big") + top).digest()


def hash_node(node: bytes | bytearray) -> bytes:
    """Return the hash by which the next level knows a node."""
    return sha256(b"\x11" + node).digest()


def prove_leaf(read_node: ReadNode, count: int, leaf: int) -> StateProof:
    """Return the proof of one leaf. Each node holds the leaf's own way up and its siblings."""
    assert 0 <= leaf < count
    nodes = []
    level, index = 0, leaf
    while True:
        index //= ARITY
        node = read_node(level, index)
        assert node is not None
        nodes.append(node)
        level += 1
        if _width(count, level) <= 1:
            return StateProof(leaf, count, tuple(nodes))


def is_in_state(key: bytes, value: bytes, proof: StateProof, root: bytes) -> bool:
    """Tell whether the entry `key` has the canonical `value` in the state under `root`."""
    if proof.leaf >= proof.count:
        return False
    child = hash_leaf(key, value)
    index = proof.leaf
    for level, node in enumerate(proof.nodes):
        slot = index % ARITY
        index //= ARITY
        children = min(ARITY, _width(proof.count, level) - index * ARITY)
        if len(node) != children * _HASH or node[slot * _HASH : (slot + 1) * _HASH] != child:
            return False
        child = hash_node(node)
        if _width(proof.count, level + 1) <= 1:
            return level + 1 == len(proof.nodes) and seal_root(proof.count, child) == root
    return False


def _width(count: int, level: int) -> int:
    """Return the number of hashes at a level: leaves at 0, their parents' hashes at 1."""
    for _ in range(level):
        count = -(-count // ARITY)
    return count
