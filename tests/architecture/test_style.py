"""What no tool checks for us: empty package files, finished work, tests that can fail."""

import re

from tests.architecture.sources import PACKAGES, ROOT, get_name, iterate_files, iterate_modules

# Brackets keep these patterns from finding themselves.
UNFINISHED = re.compile(
    r"\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b|[N]otImplementedError|[p]laceholder|\b[f]or now\b"
    r"|\b[i]n a real\b|\b[s]implified\b|\b[d]ummy (proof|signature|result)",
    re.IGNORECASE,
)
CANNOT_FAIL = re.compile(
    r"pytest\.[s]kip|mark\.[s]kip|[x]fail|import[o]rskip|[a]ssert True\b|monkeypatch\.[s]etattr"
    r"|unittest\.[m]ock|[M]agicMock"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|home/\w+|root|tmp/\w+)/")
TEXT = (".py", ".md", ".ts", ".js", ".toml", ".sh", ".yml", ".yaml", ".circom")


def find(pattern: re.Pattern[str], suffixes: tuple[str, ...], *folders: str) -> list[str]:
    return [
        f"{get_name(path)}:{number}: {line.strip()[:100]}"
        for path in iterate_files(suffixes, folders)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_package_files_are_empty() -> None:
    filled = [
        get_name(path)
        for path in iterate_modules()
        if path.name == "__init__.py"
        and path.read_text().strip()
        # The SDK's documented import is `from aitbc import AITBCClient`.
        and get_name(path) != "aitbc/__init__.py"
    ]
    assert filled == []


def test_nothing_is_left_unfinished() -> None:
    assert find(UNFINISHED, (".py", ".ts", ".js", ".md", ".toml", ".sh")) == []


def test_no_test_is_switched_off_or_mocked() -> None:
    assert find(CANNOT_FAIL, (".py",), "tests") == []


def test_no_path_of_one_machine() -> None:
    assert find(MACHINE_PATH, TEXT) == []


def test_no_abstract_base_classes() -> None:
    assert find(re.compile(r"^(from abc import|import abc\b)"), (".py",), *PACKAGES) == []


def test_tests_mirror_the_source() -> None:
    """tests/<package>/…/test_<file>.py, or test_<file>_<part>.py, for <package>/…/<file>.py."""
    strays = []
    for package in PACKAGES:
        for path in sorted((ROOT / "tests" / package).rglob("test_*.py")):
            folder = ROOT / path.parent.relative_to(ROOT / "tests")
            stem = path.stem.removeprefix("test_")
            modules = {entry.stem for entry in folder.glob("*") if entry.suffix in ("", ".py")}
            if not any(stem == module or stem.startswith(module + "_") for module in modules):
                strays.append(get_name(path))
    assert strays == []
