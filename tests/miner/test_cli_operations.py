"""`aitbc miner doctor` as a process: what it prints, and its exit codes."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.miner_process import COMMAND, make_environment


def run(folder: Path, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        env=make_environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_is_missing_is_one_document_and_an_exit_code(tmp_path: Path) -> None:
    nowhere = json.dumps(["http://127.0.0.1:1"])
    done = run(tmp_path, "doctor", "--kind", "stable_diffusion", "--json", api_urls=nowhere)
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["can_run"] is False
    missing = [check for check in report["checks"] if check["state"] == "missing"]
    assert [check["name"] for check in missing] == ["reachable"]
    assert all(check["remedy"] for check in missing)


def test_people_are_told_what_to_do(tmp_path: Path) -> None:
    nowhere = json.dumps(["http://127.0.0.1:1"])
    done = run(tmp_path, "doctor", "--kind", "stable_diffusion", api_urls=nowhere)
    assert done.returncode == 3
    assert "aitbc-numpy-diffusion" in done.stdout
    assert "node, reachable:  correct api_urls" in done.stderr
    assert "Traceback" not in done.stderr and "aitbc_secret" not in done.stdout + done.stderr


def test_settings_that_do_not_read_are_checks_as_well(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--device", "gpu", "--json")
    assert done.returncode == 3
    (check,) = json.loads(done.stdout)["checks"]
    assert check["found"].startswith("device:")
    done = run(tmp_path, "doctor", "--config", str(tmp_path / "absent.toml"))
    assert done.returncode == 3
    assert "no configuration file" in done.stdout
