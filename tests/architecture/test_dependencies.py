"""Each package imports only what its extra declares: a bare install verifies, a miner mines."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, get_name, iterate_modules, parse

EXTRA_OF_PACKAGE = {
    "zk": "",
    "ledger": "",
    "consensus": "",
    "aitbc": "",
    "miner": "miner",
    "genesis": "node",
    "p2p": "node",
    "coordinator": "node",
    "node": "node",
}


def normalise(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def get_declared(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]
    return {normalise(requirement) for requirement in declared}


def iterate_eager_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the top-level name and line of each import that runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.split(".")[0], node.lineno
        else:
            yield from iterate_eager_imports(node)


def find_undeclared(path: Path, declared: set[str], owners: dict[str, list[str]]) -> list[str]:
    return [
        f"{get_name(path)}:{line}: {name}"
        for name, line in iterate_eager_imports(parse(path))
        if name not in sys.stdlib_module_names
        and name not in PACKAGES
        and not declared & {normalise(owner) for owner in owners.get(name, [])}
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_are_declared(package: str) -> None:
    declared = get_declared(EXTRA_OF_PACKAGE[package])
    owners = {name: list(found) for name, found in packages_distributions().items()}
    undeclared = [
        offence
        for path in iterate_modules((package,))
        for offence in find_undeclared(path, declared, owners)
    ]
    assert undeclared == []


def test_the_lock_pins_what_is_declared() -> None:
    locked = {
        normalise(line)
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    declared = set().union(*(get_declared(extra) for extra in ("", "node", "miner", "dev")))
    assert declared - {"aitbc"} <= locked, "run `make lock`"
