"""The core has no clock, no chance, no IO and no environment: they are arguments."""

import ast

import pytest

from tests.architecture.sources import (
    PACKAGES,
    PURE_PACKAGES,
    ROOT,
    get_name,
    iterate_imports,
    iterate_modules,
    parse,
)

IMPURE_MODULES = (
    "aiohttp aiohttp_sse anyio asyncio concurrent ctypes datetime getpass http httpx2 libp2p "
    "logging multiprocessing nacl.utils os pathlib platform random requests secrets select "
    "selectors shutil signal socket sqlalchemy sqlcipher3 sqlite3 sqlmodel ssl structlog "
    "subprocess tempfile threading time trio urllib uuid uvloop"
).split()
IMPURE_BUILTINS = {"breakpoint", "eval", "exec", "input", "open", "print", "__import__"}
IMPURE_CALLS = {"SigningKey.generate", "PrivateKey.generate"}

# The thin shells inside pure packages: what each may import, and why it stands there.
SHELLS: dict[str, tuple[str, set[str]]] = {
    "ledger/keystore.py": (
        "node, miner and SDK read the same key files, and this is the lowest floor they share",
        {"nacl.utils", "os", "pathlib"},
    ),
    "zk/process.py": (
        "node and miner prove in the same kind of process, and neither knows the other",
        {"asyncio", "multiprocessing", "os", "signal"},
    ),
    "zk/ceremony/__main__.py": ("the command that makes the DEV key", {"pathlib", "tempfile"}),
    "zk/ceremony/snarkjs.py": (
        "the ceremony's arithmetic is snarkjs', run as a process",
        {"os", "pathlib", "shutil", "subprocess"},
    ),
    "zk/ceremony/steps.py": ("a ceremony hands files from one to the next", {"os", "pathlib"}),
    "zk/ceremony/transcript.py": ("a ceremony's record is a folder of files", {"pathlib"}),
}


def find_impurities(tree: ast.AST) -> list[tuple[str, int]]:
    """Return each impure module or call, with its line."""
    found = []
    for name, line in iterate_imports(tree):
        for module in IMPURE_MODULES:
            if name == module or name.startswith(module + "."):
                found.append((module, line))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_impure = called in IMPURE_BUILTINS or any(
                called == call or called.endswith("." + call) for call in IMPURE_CALLS
            )
            if is_impure:
                found.append((called, node.lineno))
    return found


def test_the_core_is_pure() -> None:
    offences = [
        f"{get_name(path)}:{line}: {what}"
        for path in iterate_modules(PURE_PACKAGES)
        for what, line in find_impurities(parse(path))
        if what not in SHELLS.get(get_name(path), ("", set()))[1]
    ]
    assert not offences, "\n".join(offences)


def test_a_shell_uses_all_that_it_may() -> None:
    for name, (_reason, allowed) in SHELLS.items():
        used = {what for what, _line in find_impurities(parse(ROOT / name))}
        assert used == allowed, name


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import urandom",
        "def late():\n    import asyncio.events",
        "from nacl import utils",
        "import nacl.utils",
        "open('a')",
        "SigningKey.generate()",
        "signing.SigningKey.generate()",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert find_impurities(ast.parse(source))


def test_no_package_is_forgotten() -> None:
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_code - {"tests", "bench"} == set(PACKAGES)
