import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.devnets import START_SECONDS


@pytest.mark.slow
def test_the_demonstration_holds_in_every_step_and_ends_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "aitbc.cli.main", "demo", "--max-tokens", "8"]
    result = subprocess.run(
        [*command, "--data", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "✘" not in result.stdout
    for kind in ("stable_diffusion", "video_transcoding", "onnx_inference"):
        assert f"\n{kind} " in result.stdout, result.stdout
    assert "processes have ended" in result.stdout
    assert (folder / "receipt.json").stat().st_mode & 0o777 == 0o600


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = subprocess.run(
        [sys.executable, "-m", "aitbc.cli.main", "demo", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert (result.returncode, result.stdout) == (3, "")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
