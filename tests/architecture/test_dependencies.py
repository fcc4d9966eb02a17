"""Each package imports only what its extra declares: a bare install verifies, a miner mines."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, get_name, iterate_modules, parse

EXTRA_OF_PACKAGE = {
    "zk": "",
    "ledger": "",
    "consensus": "",
    "aitbc": "",
    "outbound": "",
    "miner": "miner",
    "genesis": "node",
    "p2p": "node",
    "coordinator": "node",
    "node": "node",
}
# The reference verifier is for differential tests and the node's audit; nothing imports it unasked.
EXTRA_OF_MODULE = {
    "zk/backend_py_ecc.py": "node",
    "miner/engines/speech_model.py": "speech",
    # Scripts inside the sandbox: they find their siblings beside them, and nothing imports them.
    "miner/engines/onnx_program/onnx_runner.py": "onnx",
    "miner/engines/speech_program/sound_decoder.py": "speech",
}


def normalise(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def get_declared(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]
    return {normalise(requirement) for requirement in declared}


def iterate_eager_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and line of each import that runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        else:
            yield from iterate_eager_imports(node)


def find_undeclared(path: Path, extra: str, owners: Mapping[str, list[str]]) -> list[str]:
    declared = get_declared(EXTRA_OF_MODULE.get(get_name(path), extra))
    undeclared = []
    for name, line in iterate_eager_imports(parse(path)):
        top = name.split(".")[0]
        is_beside = path.with_name(f"{top}.py").exists()
        is_ours_or_python = top in PACKAGES or top in sys.stdlib_module_names or is_beside
        if not is_ours_or_python and not declared & {normalise(o) for o in owners.get(top, [])}:
            undeclared.append(f"{get_name(path)}:{line}: {name}")
    return undeclared


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_are_declared(package: str) -> None:
    extra = EXTRA_OF_PACKAGE[package]
    owners = packages_distributions()
    undeclared = [
        offence
        for path in iterate_modules((package,))
        for offence in find_undeclared(path, extra, owners)
    ]
    assert undeclared == []


@pytest.mark.parametrize("module", EXTRA_OF_MODULE)
def test_no_module_with_fewer_dependencies_imports_it_eagerly(module: str) -> None:
    dotted = module.removesuffix(".py").replace("/", ".")
    importers = [
        get_name(path)
        for path in iterate_modules()
        if EXTRA_OF_PACKAGE[path.relative_to(ROOT).parts[0]] != EXTRA_OF_MODULE[module]
        and any(
            name == dotted or name.startswith(dotted + ".")
            for name, _line in iterate_eager_imports(parse(path))
        )
    ]
    assert importers == []


def test_the_lock_pins_what_is_declared() -> None:
    locked = {
        normalise(line)
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    declared = set().union(*(get_declared(extra) for extra in ("", "node", "miner", "dev")))
    assert declared - {"aitbc"} <= locked, "run `make lock`"
