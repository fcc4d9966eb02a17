"""The contracts in pyproject.toml hold for the tree (`make lint`); here: each of them can break."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run import-linter with this project's contracts over packages that hold only `modules`."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in (*PACKAGES, "aitbc/cli"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    for name, source in modules.items():
        (folder / name).write_text(source)
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger/a.py", "import consensus"),
        ("zk/a.py", "def late() -> None:\n    import ledger"),
        ("consensus/a.py", "import genesis"),
        ("p2p/a.py", "import coordinator"),
        ("coordinator/a.py", "import p2p"),
        ("coordinator/a.py", "import node"),
        ("node/a.py", "import aitbc"),
        ("ledger/a.py", "import miner"),
        ("miner/a.py", "import coordinator"),
        ("aitbc/a.py", "import node"),
        ("aitbc/a.py", "import aitbc.cli"),
    ],
)
def test_an_import_across_the_layers_breaks_a_contract(
    tmp_path: Path, module: str, source: str
) -> None:
    result = lint(tmp_path, {module: source})
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout


def test_what_the_layers_allow_passes(tmp_path: Path) -> None:
    result = lint(
        tmp_path,
        {
            "node/a.py": "import p2p\nimport coordinator\nimport zk",
            "miner/a.py": "import aitbc.b\nimport ledger",
            "aitbc/b.py": "import consensus",
            "aitbc/cli/c.py": "def command() -> None:\n    import node.a\n    import miner",
        },
    )
    assert result.returncode == 0, result.stdout + result.stderr
