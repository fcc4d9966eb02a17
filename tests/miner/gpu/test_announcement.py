"""Which GPU is announced: a measured one, or a server's elsewhere; no claim of nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from miner.gpu.announcement import check_claim, choose_announced, is_here
from miner.gpu.device import DeviceMissingError
from miner.settings import MinerSettings
from tests.support.gpu_driver import LARGE, SMALL, build_driver, make_environment, run_beside

CHECK = """
import json, sys
from miner.gpu.announcement import check_claim
from miner.gpu.device import DeviceMissingError
from miner.settings import MinerSettings
settings = MinerSettings(miner_id="m", api_key="k", key_file="k", **json.loads({given!r}))
try:
    print(json.dumps(check_claim(settings)))
except DeviceMissingError as error:
    print(json.dumps(str(error)))
"""
HERE = "http://127.0.0.1:8000/v1"
ELSEWHERE = "http://gpu.example.org:8000"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


def check(driver: Path, *gpus: str, **given: str) -> Any:
    program = CHECK.format(given=json.dumps(given))
    return json.loads(run_beside(make_environment(driver, *gpus), program))


def make_settings(**given: Any) -> MinerSettings:
    return MinerSettings(**{"miner_id": "m", "api_key": "k", "key_file": "k", **given})


def test_of_a_server_on_this_machine_what_is_measured_replaces_what_is_claimed(
    driver: Path,
) -> None:
    found = check(driver, SMALL, LARGE, text_endpoint=HERE, gpu_name="h100", gpu_memory="900GB")
    assert found == {"name": "NVIDIA H100 80GB HBM3", "memory": "81559MiB"}


def test_of_a_server_on_this_machine_a_claim_that_the_driver_does_not_show_is_refused(
    driver: Path,
) -> None:
    found = check(driver, SMALL, text_endpoint=HERE, gpu_name="h100")
    assert "there is here: Tesla T4" in found


def test_nothing_claimed_is_nothing_announced(driver: Path) -> None:
    assert check(driver, LARGE, text_endpoint=HERE) == {}


def test_of_a_server_elsewhere_the_operators_word_stands() -> None:
    claim = {"gpu_name": "NVIDIA H200", "gpu_memory": "141GB"}
    settings = make_settings(text_endpoint=ELSEWHERE, **claim)
    assert check_claim(settings) == {"name": "NVIDIA H200", "memory": "141GB"}


async def test_without_a_server_a_claim_is_of_nothing() -> None:
    with pytest.raises(DeviceMissingError, match="no engine of this miner computes on one"):
        await choose_announced(make_settings(gpu_memory="24GB"), {})
    assert await choose_announced(make_settings(), {}) == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (HERE, True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        (ELSEWHERE, False),
        ("http://10.0.0.7:8000", False),
        ("nonsense", False),
    ],
)
def test_what_this_machines_own_address_is(url: str, expected: bool) -> None:
    assert is_here(url) is expected
