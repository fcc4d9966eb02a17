"""Money and time are whole numbers wherever nodes must agree: no float, no true division."""

import ast

import pytest

from tests.architecture.sources import get_name, iterate_modules, parse

WHOLE_NUMBER_PACKAGES = ("zk", "ledger", "consensus", "genesis")


def find_inexact(tree: ast.AST) -> list[int]:
    """Return the lines with a float literal, the name `float` or a true division."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
        or (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
    ]


def test_the_core_counts_in_whole_numbers() -> None:
    offences = [
        f"{get_name(path)}:{line}"
        for path in iterate_modules(WHOLE_NUMBER_PACKAGES)
        for line in find_inexact(parse(path))
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("source", ["1.0", "a / b", "a /= b", "float('1')", "x: float"])
def test_an_inexact_number_is_found(source: str) -> None:
    assert find_inexact(ast.parse(source)) == [1]


def test_whole_division_passes() -> None:
    assert find_inexact(ast.parse("a // b; a //= b; 'a / b'")) == []
