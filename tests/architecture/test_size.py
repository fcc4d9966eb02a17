"""A file and a function stay short enough to be read in one go."""

import ast

from tests.architecture.sources import get_name, iterate_files, parse

FILE_LINES = 500
FUNCTION_LINES = 70


def test_files_are_short() -> None:
    long = {
        get_name(path): lines
        for path in iterate_files((".py", ".ts", ".js", ".mjs", ".sh"))
        if (lines := len(path.read_text().splitlines())) > FILE_LINES
    }
    assert not long


def test_functions_are_short() -> None:
    long = {
        f"{get_name(path)}:{node.lineno} {node.name}": lines
        for path in iterate_files((".py",))
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES
    }
    assert not long
