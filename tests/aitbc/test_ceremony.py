"""The commands of a ceremony: what they print, and how they fail."""

from pathlib import Path

from typer.testing import CliRunner

from aitbc.ceremony import app

CACHE = str(Path(__file__).parents[2] / ".cache")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--cache", CACHE])
    return result.exit_code, result.output


def test_a_ceremony_starts_once_and_takes_steps_in_order(tmp_path: Path) -> None:
    folder = str(tmp_path / "shared")
    code, output = run("new", folder)
    assert code == 0, output
    assert "contribute" in output
    code, output = run("new", folder)
    assert code == 1
    assert "not empty" in output
    code, output = run("beacon", folder, "--value", "5a" * 32)
    assert code == 1
    assert "no contribution" in output
    code, output = run("contribute", folder, "--name", "alice", "--entropy", "words")
    assert code == 0, output
    assert "phase1-0001.ptau" in output
    code, output = run("verify", folder)
    assert code == 0, output
    assert "alice" in output
    assert "not finished" in output


def test_a_folder_without_a_ceremony_is_told(tmp_path: Path) -> None:
    code, output = run("verify", str(tmp_path))
    assert code == 1
    assert "holds no ceremony.json" in output
