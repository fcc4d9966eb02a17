from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.state_tree import (
    ARITY,
    NodeKey,
    StateProof,
    count_levels,
    hash_leaf,
    hash_node,
    is_in_state,
    join_levels,
    prove_leaf,
    seal_root,
)
from ledger.state_tree import update_tree as update


def compute_reference(leaves: list[bytes]) -> bytes:
    """Return the root as docs/protocol/ledger.md defines it (rules S4 and S5), from scratch."""
    level = leaves
    top = bytes(32)
    while level:
        groups = [level[start : start + ARITY] for start in range(0, len(level), ARITY)]
        level = [sha256(b"\x11" + b"".join(group)).digest() for group in groups]
        top = level[0]
        if len(level) == 1:
            break
    return sha256(b"\x12" + len(leaves).to_bytes(8, "big") + top).digest()


def make_leaf(number: int, version: int = 0) -> bytes:
    return hash_leaf(b"k%d" % number, b"v%d" % version)


class Tree:
    """An incremental tree beside the plain list of its leaves."""

    def __init__(self) -> None:
        self.nodes: dict[NodeKey, bytes] = {}
        self.leaves: list[bytes] = []

    def read(self, level: int, index: int) -> bytes | None:
        return self.nodes.get((level, index))

    def write(self, changed: dict[int, bytes], new: list[bytes]) -> tuple[bytes, int]:
        count = len(self.leaves)
        for index, leaf in changed.items():
            self.leaves[index] = leaf
        self.leaves += new
        pairs = [*changed.items(), *enumerate(new, count)]
        root, written = update(self.read, count, len(self.leaves), pairs)
        self.nodes.update(written)
        return root, len(written)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 255, 256, 257, 4_096, 4_097])
def test_growing_by_any_step_gives_the_root_from_scratch(count: int) -> None:
    tree = Tree()
    root, _ = tree.write({}, [make_leaf(number) for number in range(count)])
    assert root == compute_reference(tree.leaves)
    for more in (1, 14, 1, 1, 300):
        new = [make_leaf(len(tree.leaves) + number) for number in range(more)]
        root, _ = tree.write({}, new)
        assert root == compute_reference(tree.leaves)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),
            st.lists(st.tuples(st.integers(0, 10**6), st.integers()), max_size=8),
        ),
        max_size=14,
    )
)
def test_updates_in_any_order_give_the_root_from_scratch(
    blocks: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    tree = Tree()
    for more, changes in blocks:
        count = len(tree.leaves)
        changed = {at % count: make_leaf(at, version) for at, version in changes if count}
        new = [make_leaf(count + number) for number in range(more)]
        root, _ = tree.write(changed, new)
        assert root == compute_reference(tree.leaves)


def test_an_update_of_nothing_keeps_the_root() -> None:
    for count in (0, 1, 16, 17, 300):
        tree = Tree()
        root, _ = tree.write({}, [make_leaf(number) for number in range(count)])
        assert tree.write({}, []) == (root, 0)


def test_the_order_of_the_leaves_given_does_not_matter() -> None:
    leaves = [(index, make_leaf(index)) for index in range(300)]
    assert update(lambda *_: None, 0, 300, leaves) == update(lambda *_: None, 0, 300, leaves[::-1])


def test_an_update_touches_a_node_on_each_level() -> None:
    tree = Tree()
    tree.write({}, [make_leaf(number) for number in range(5_000)])
    _, written = tree.write({4_321: make_leaf(4_321, 1)}, [])
    assert written == 4


@pytest.mark.parametrize("count", [1, 2, 16, 17, 257, 300])
def test_a_proof_holds_for_its_own_entry_place_and_count(count: int) -> None:
    tree = Tree()
    root, _ = tree.write({}, [make_leaf(number) for number in range(count)])
    for leaf in {0, 1, 15, 16, count // 2, count - 1} & set(range(count)):
        key = b"k%d" % leaf
        proof = prove_leaf(tree.read, count, leaf)
        assert is_in_state(key, b"v0", proof, root)
        assert not is_in_state(key, b"v1", proof, root)
        assert not is_in_state(b"k%d" % (leaf + 1), b"v0", proof, root)
        assert not is_in_state(key + b"v", b"0", proof, root)
        for other in {0, leaf + 1, leaf + 16, count - 1, count, 2**63 - 1} - {leaf}:
            assert not is_in_state(key, b"v0", msgspec.structs.replace(proof, leaf=other), root)
        for other in {0, 1, count - 1, count + 1, count * 16, 2**63 - 1} - {count}:
            assert not is_in_state(key, b"v0", msgspec.structs.replace(proof, count=other), root)


@given(
    count=st.integers(1, 300),
    data=st.data(),
)
def test_a_changed_proof_proves_nothing(count: int, data: st.DataObject) -> None:
    tree = Tree()
    root, _ = tree.write({}, [make_leaf(number) for number in range(count)])
    leaf = data.draw(st.integers(0, count - 1))
    proof = prove_leaf(tree.read, count, leaf)
    nodes = list(proof.nodes)
    at = data.draw(st.integers(0, len(nodes) - 1))
    node = nodes[at]
    place = data.draw(st.integers(0, len(node) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "extend", "drop", "double", "add"])):
        case "flip":
            nodes[at] = node[:place] + bytes([node[place] ^ 1]) + node[place + 1 :]
        case "cut":
            nodes[at] = node[:-32]
        case "extend":
            nodes[at] = node + bytes(32)
        case "drop":
            nodes.pop(at)
        case "double":
            nodes.insert(at, node)
        case _:
            nodes.append(sha256(b"\x11" + nodes[-1]).digest())
    changed = StateProof(proof.leaf, proof.count, tuple(nodes))
    assert not is_in_state(b"k%d" % leaf, b"v0", changed, root)


def test_a_node_cannot_be_shown_as_an_entry() -> None:
    tree = Tree()
    tree.write({}, [make_leaf(number) for number in range(32)])
    top = tree.nodes[1, 0]
    forged = StateProof(0, 2, (top,))
    root = sha256(b"\x12" + (2).to_bytes(8, "big") + sha256(b"\x11" + top).digest()).digest()
    assert not is_in_state(b"", tree.nodes[0, 0], forged, root)


def test_a_proof_has_one_encoding_and_a_bound() -> None:
    tree = Tree()
    tree.write({}, [make_leaf(number) for number in range(300)])
    proof = prove_leaf(tree.read, 300, 299)
    assert codec.decode(codec.encode(proof), StateProof, 4_096) == proof


@pytest.mark.parametrize("count", [1, 2, 16, 17, 255, 256, 257, 300, 512, 4_096, 4_097, 5_000])
@pytest.mark.parametrize("levels", [1, 2])
def test_a_tree_built_piece_by_piece_is_the_same(count: int, levels: int) -> None:
    tree = Tree()
    root, _ = tree.write({}, [make_leaf(number) for number in range(count)])
    below = min(levels, count_levels(count))
    size = ARITY**below
    nodes: dict[NodeKey, bytes] = {}
    hashes: list[bytes] = []
    for first in range(0, count, size):
        piece, more = join_levels(tree.leaves[first : first + size], 0, first, below)
        assert len(piece) == 1
        assert piece[0] == hash_node(tree.nodes[below - 1, first // size])
        hashes += piece
        nodes |= more
    (top,), more = join_levels(hashes, below, 0, count_levels(count) - below)
    assert seal_root(count, top) == root
    assert nodes | more == tree.nodes
