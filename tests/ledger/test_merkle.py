from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import InclusionProof, compute_root, is_included, prove_inclusion

LEAVES = [bytes([number]) * (number % 40) for number in range(40)]


def compute_reference(leaves: list[bytes]) -> bytes:
    """Return the root as docs/protocol/ledger.md defines it (rule M1): RFC 6962 by recursion."""

    def fold(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return sha256(b"\x00" + part[0]).digest()
        split = 1 << (len(part) - 1).bit_length() - 1
        return sha256(b"\x01" + fold(part[:split]) + fold(part[split:])).digest()

    top = fold(leaves) if leaves else bytes(32)
    return sha256(b"\x02" + len(leaves).to_bytes(8, "big") + top).digest()


@pytest.mark.parametrize("count", range(len(LEAVES)))
def test_the_root_is_that_of_the_reference(count: int) -> None:
    assert compute_root(LEAVES[:count]) == compute_reference(LEAVES[:count])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33])
def test_each_leaf_has_a_proof_for_its_own_place_only(count: int) -> None:
    leaves = LEAVES[:count]
    root = compute_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = prove_inclusion(leaves, index)
        assert is_included(leaf, proof, root)
        assert not is_included(leaf + b"x", proof, root)
        for other in range(count + 2):
            moved = msgspec.structs.replace(proof, index=other)
            assert is_included(leaf, moved, root) == (other == index)
        for other in (0, count - 1, count + 1, 2 * count, 2**63 - 1):
            assert not is_included(leaf, msgspec.structs.replace(proof, count=other), root)


def test_a_doubled_last_leaf_changes_the_root() -> None:
    """CVE-2012-2459: two lists of transactions under one root."""
    assert compute_root([b"a", b"b", b"c"]) != compute_root([b"a", b"b", b"c", b"c"])


def test_a_node_is_no_leaf() -> None:
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    assert compute_root([b"a", b"b"]) != compute_root([left + right])
    assert compute_root([]) != compute_root([b""])


@given(
    leaves=st.lists(st.binary(max_size=4), min_size=1, max_size=20),
    data=st.data(),
)
def test_a_changed_proof_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    root = compute_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = prove_inclusion(leaves, index)
    siblings = list(proof.siblings)
    change = data.draw(st.sampled_from(["add", "drop", "swap", "flip"]))
    if change == "add":
        siblings.insert(data.draw(st.integers(0, len(siblings))), bytes(32))
    elif change == "drop" and siblings:
        siblings.pop(data.draw(st.integers(0, len(siblings) - 1)))
    elif change == "swap" and len(siblings) > 1:
        siblings[0], siblings[-1] = siblings[-1], siblings[0]
    elif siblings:
        at = data.draw(st.integers(0, len(siblings) - 1))
        siblings[at] = bytes([siblings[at][0] ^ 1]) + siblings[at][1:]
    changed = InclusionProof(proof.index, proof.count, tuple(siblings))
    assert is_included(leaves[index], changed, root) == (changed == proof)


def test_an_endless_proof_is_cut_short() -> None:
    assert not is_included(b"", InclusionProof(0, 2**63 - 1, (bytes(32),) * 65), bytes(32))
