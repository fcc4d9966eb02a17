"""The commands of a ceremony: what they print, and how they fail."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aitbc import ceremony
from aitbc.ceremony import app, print_report
from node.exit_codes import ExitCode
from tests.zk.ceremony.test_steps import CIRCUIT, POWER
from zk.ceremony.snarkjs import install_snarkjs
from zk.ceremony.steps import Report, new_ceremony

CACHE = Path(__file__).parents[2] / ".cache"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--cache", str(CACHE)])
    return result.exit_code, result.output


def test_a_ceremony_starts_once(tmp_path: Path) -> None:
    folder = str(tmp_path / "shared")
    code, output = run("new", folder)
    assert code == 0, output
    assert "contribute" in output
    code, output = run("new", folder)
    assert code == 3
    assert "not empty" in output


def test_steps_are_taken_in_order(tmp_path: Path) -> None:
    """In a ceremony for a small circuit, which is quick, and which `verify` refuses for it."""
    new_ceremony(tmp_path / "shared", CIRCUIT, install_snarkjs(CACHE), POWER)
    folder = str(tmp_path / "shared")
    code, output = run("beacon", folder, "--value", "5a" * 32)
    assert code == 3
    assert "no contribution" in output
    alice = ("contribute", folder, "--name", "alice", "--entropy", "words")
    code, output = run(*alice, "--json")
    assert code == 0, output
    made = json.loads(output)
    assert (made["file"], made["open_phase"]) == ("phase1-0001.ptau", 1)
    code, output = run("verify", folder)
    assert code == 33
    assert "another circuit" in output


def test_a_folder_without_a_ceremony_is_told(tmp_path: Path) -> None:
    code, output = run("verify", str(tmp_path))
    assert code == 33
    assert "holds no ceremony.json" in output


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (Report("00", ([], []), None), ["no contribution yet", "not finished"]),
        (Report("00", (["alice", "bob"], ["carol"]), b"\x01" * 32), ["alice, bob", "01" * 32]),
    ],
)
def test_a_report_is_told(
    report: Report, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report)
    output = capsys.readouterr().out
    assert all(words in output for words in said)
    print_report(report, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["is_finished"] is (report.key_id is not None)


@pytest.mark.parametrize("name", ["UNEXPECTED", "CONFIGURATION", "VERIFICATION_FAILED"])
def test_it_ends_with_the_same_codes(name: str) -> None:
    assert getattr(ceremony, name) == ExitCode[name]
