"""What a command says when it cannot go on."""

import subprocess
import sys
from pathlib import Path

import pytest

from node.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("sqlalchemy", ["devnet", "--data", "network"]),
        ("sqlcipher3", ["node", "verify-chain", "--data", "node"]),
        ("structlog", ["miner", "run"]),
    ],
)
def test_a_bare_installation_says_what_to_install(
    missing: str, arguments: list[str], tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments!r}; "
        "from aitbc.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert done.stdout == ""
    assert f"the package {missing}" in done.stderr
    assert "aitbc[node,miner]" in done.stderr
