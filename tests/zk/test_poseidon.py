"""Poseidon against an implementation by others, and against the paper's own parameters."""

import json
from pathlib import Path

import pytest

from zk.field import R
from zk.poseidon import poseidon

VECTORS = json.loads((Path(__file__).parent / "poseidon_vectors.json").read_bytes())["vectors"]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_hash_agrees_with_the_npm_package(vector: dict[str, str | list[str]]) -> None:
    assert isinstance(vector["output"], str)
    assert poseidon([int(value) for value in vector["inputs"]]) == int(vector["output"])


@pytest.mark.parametrize("inputs", [[], [1], list(range(17))])
def test_a_wrong_number_of_inputs_is_refused(inputs: list[int]) -> None:
    with pytest.raises(ValueError, match="2 to 16"):
        poseidon(inputs)


@pytest.mark.parametrize("value", [-1, R])
def test_what_is_no_field_element_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="field element"):
        poseidon([1, value])
