"""What a machine has and lacks: key file, proving key, data folder, disk, GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miner.doctor.machine import (
    check_data_folder,
    check_disk,
    check_gpus,
    check_key,
    check_proving_key,
    check_sandbox,
)
from miner.doctor.report import State
from miner.settings import MinerSettings
from tests.support.contract_server import MINER
from tests.support.gpu_driver import LARGE, SMALL, build_driver, make_environment, run_beside

HOLD = """
import sys, time
from pathlib import Path
from miner.spool import Spool
Spool(Path(sys.argv[1]), bytes(32))
print("held", flush=True)
time.sleep(60)
"""
GPUS = """
import json, msgspec
from miner.doctor.machine import check_gpus
from miner.settings import MinerSettings
print(json.dumps([
    [
        msgspec.to_builtins(check)
        for check in check_gpus(MinerSettings(miner_id="m", api_key="k", key_file="k", **given))
    ]
    for given in json.loads({given!r})
]))
"""
SANDBOX = """
import asyncio, json
from miner.doctor.machine import check_sandbox
check = asyncio.run(check_sandbox())
print(json.dumps([check.state, check.found]))
"""


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {
        "miner_id": "miner_a",
        "api_key": "k",
        "key_file": folder / "key",
        "data_folder": folder / "data",
        "device": "cpu",
        **changed,
    }
    return MinerSettings(**given)


@pytest.mark.parametrize(
    ("content", "mode", "remedy"),
    [
        (MINER.seed.hex(), 0o644, "chmod 600"),
        ("not a keystore", 0o600, "aitbc keys new"),
        (None, 0o600, "aitbc keys new"),
    ],
)
def test_a_key_file_that_does_not_open_says_what_to_do(
    content: str | None, mode: int, remedy: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
        (tmp_path / "key").chmod(mode)
    check, wallet = check_key(make_settings(tmp_path))
    assert (check.state, wallet) == (State.MISSING, None)
    assert remedy in check.remedy
    assert MINER.seed.hex() not in check.found


def test_a_key_file_that_opens_says_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(MINER.seed.hex())
    (tmp_path / "key").chmod(0o600)
    check, wallet = check_key(make_settings(tmp_path))
    assert check.state is State.OK
    assert MINER.text_address in check.found
    assert wallet is not None and wallet.address == MINER.address


def test_a_proving_key_is_loaded(tmp_path: Path) -> None:
    check, key_id = check_proving_key(make_settings(tmp_path))
    assert check.state is State.OK and key_id is not None
    (tmp_path / "chain.zkey").write_bytes(b"none")
    check, key_id = check_proving_key(
        make_settings(tmp_path, proving_key_file=tmp_path / "chain.zkey")
    )
    assert (check.state, key_id) == (State.MISSING, None)
    assert "proving_key_file" in check.remedy


def test_a_data_folder_says_who_mines_with_it_and_what_it_owes(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    assert "not used yet" in check_data_folder(settings).found
    spool = settings.data_folder / "spool"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, spool], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        (spool / f"{'ab' * 32}.work").write_bytes(b"sealed")
        check = check_data_folder(settings)
        holder.kill()
    assert check.state is State.WARNING
    assert f"process {holder.pid} mines with it" in check.found
    assert "1 jobs in its spool" in check.found
    assert check_data_folder(settings).state is State.OK


def test_room_is_told_of_folders_that_do_not_exist_yet(tmp_path: Path) -> None:
    data, models = check_disk(make_settings(tmp_path, models_folder=tmp_path / "a" / "b"))
    assert "GB free" in data.found and "GB free" in models.found
    assert not (tmp_path / "a").exists()


def test_no_gpu_is_nothing_missing_unless_one_is_asked_for_or_claimed(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    left, asked, claimed, elsewhere = examine(
        make_environment(tmp_path),
        {"device": "auto"},
        {"device": "cuda:0"},
        {"gpu_name": "H100"},
        {"gpu_name": "H100", "text_endpoint": "http://gpu.example.org"},
    )
    assert [check["state"] for check in left] == ["ok", "ok"]
    assert asked[-1]["state"] == "missing" and "device is cuda:0" in asked[-1]["found"]
    assert claimed[-1]["state"] == "missing" and "claim a GPU" in claimed[-1]["found"]
    assert all(check["state"] == "ok" for check in elsewhere)


def test_gpus_are_told_with_what_they_do(tmp_path: Path) -> None:
    environment = make_environment(build_driver(tmp_path), LARGE, SMALL)
    ((first, second, device),) = examine(environment, {"device": "cuda:1"})
    assert first["found"].startswith("NVIDIA H100 80GB HBM3, GPU-aaaa-1, 85.5 GB, capability 9.0")
    assert "73 % busy, 21.4 GB used" in first["found"]
    assert "no energy counter" in second["found"]
    assert device["found"] == "cuda:1: Tesla T4"


async def test_a_sandbox_is_tried_and_says_what_bounds_it_keeps() -> None:
    check = await check_sandbox()
    assert check.state is State.OK
    assert check.found.partition("bounds by ")[2] in ("cgroup v2", "cgroup v1", "prlimit")


def test_without_bubblewrap_the_sandbox_is_a_warning(tmp_path: Path) -> None:
    state, found = json.loads(run_beside({**os.environ, "PATH": str(tmp_path)}, SANDBOX))
    assert state == "warning"
    assert "bubblewrap is not installed" in found


def examine(environment: dict[str, str], *given: dict[str, str]) -> Any:
    """Return the checks of a machine's GPUs for each of some settings."""
    return json.loads(run_beside(environment, GPUS.format(given=json.dumps(given))))


def test_here_as_anywhere_something_is_said_of_gpus(tmp_path: Path) -> None:
    assert check_gpus(make_settings(tmp_path))
