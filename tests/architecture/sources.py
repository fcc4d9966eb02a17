"""The project's own files, as the rules about them see them."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "zk",
    "ledger",
    "consensus",
    "genesis",
    "outbound",
    "p2p",
    "coordinator",
    "node",
    "miner",
    "aitbc",
)
PURE_PACKAGES = ("zk", "ledger", "consensus", "genesis")
UNOWNED_FOLDERS = {"node_modules", "vendor", "static", "__pycache__", "build", "dist"}


def iterate_files(suffixes: tuple[str, ...], folders: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the project's files with one of the suffixes, of the folders or of the whole tree."""
    for start in [ROOT / name for name in folders] or [ROOT]:
        for folder, inner, names in os.walk(start):
            inner[:] = sorted(
                name for name in inner if name[0] != "." and name not in UNOWNED_FOLDERS
            )
            for name in sorted(names):
                if name.endswith(suffixes):
                    yield Path(folder, name)


def iterate_modules(folders: tuple[str, ...] = PACKAGES) -> Iterator[Path]:
    return iterate_files((".py",), folders)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def get_name(path: Path) -> str:
    """Return the path as people write it: from the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def iterate_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each imported module's dotted name, with its line; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
