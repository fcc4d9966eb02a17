"""`aitbc miner doctor` as a command: what it prints, and its exit codes."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from miner.cli import app
from tests.support.contract_server import MINER


def run(folder: Path, *arguments: str) -> Result:
    key_file = folder / "miner.seed"
    key_file.write_text(MINER.seed.hex())
    key_file.chmod(0o600)
    given = {
        "miner_id": "miner_a",
        "api_key": "aitbc_secret",
        "api_urls": '["http://127.0.0.1:1"]',
        "key_file": str(key_file),
        "data_folder": str(folder / "data"),
    }
    names = {f"AITBC_MINER_{name.upper()}": value for name, value in given.items()}
    return CliRunner().invoke(app, ["doctor", *arguments], env=names)


def test_what_is_missing_is_one_document_and_an_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "--kind", "stable_diffusion", "--json")
    assert done.exit_code == 3
    report = json.loads(done.stdout)
    assert report["can_run"] is False
    missing = [check for check in report["checks"] if check["state"] == "missing"]
    assert [check["name"] for check in missing] == ["reachable"]
    assert all(check["remedy"] for check in missing)


def test_people_are_told_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "--kind", "stable_diffusion")
    assert done.exit_code == 3
    assert "aitbc-numpy-diffusion" in done.stdout
    assert "node, reachable:  name another with --api-url" in done.stderr
    assert "aitbc_secret" not in done.output
    assert MINER.seed.hex() not in done.output


def test_a_line_of_run_is_taken_as_it_is(tmp_path: Path) -> None:
    flags = ("--kind", "stable_diffusion", "--concurrency", "2", "--pool", "ray://127.0.0.1:1")
    report = json.loads(run(tmp_path, *flags, "--json").stdout)
    assert "pool" in [check["name"] for check in report["checks"]]


def test_settings_that_do_not_read_are_checks_as_well(tmp_path: Path) -> None:
    done = run(tmp_path, "--device", "gpu", "--json")
    assert done.exit_code == 3
    (check,) = json.loads(done.stdout)["checks"]
    assert check["found"].startswith("device:")
    done = run(tmp_path, "--config", str(tmp_path / "absent.toml"))
    assert done.exit_code == 3
    assert "no configuration file" in done.stdout
