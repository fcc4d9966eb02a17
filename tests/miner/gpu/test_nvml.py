"""What GPUs there are: by the real driver library's absence here, and by a small one in C."""

import json
from pathlib import Path
from typing import Any

import pytest

from miner.gpu.hardware import Gpu
from miner.gpu.nvml import select_visible
from tests.support.gpu_driver import (
    DIVIDED,
    LARGE,
    LOST,
    SMALL,
    build_driver,
    make_environment,
    run_beside,
)

FIND = """
import json, msgspec
from miner.gpu.nvml import find_gpus, read_energy, read_telemetry
found = find_gpus()
print(json.dumps({
    "gpus": [msgspec.to_builtins(gpu) for gpu in found.gpus],
    "problem": found.problem,
    "energy": [read_energy(gpu.uuid) for gpu in found.gpus],
    "telemetry": [msgspec.to_builtins(read_telemetry(gpu.uuid)) for gpu in found.gpus],
}))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


def find(driver: Path, *gpus: str, **variables: str) -> Any:
    return json.loads(run_beside(make_environment(driver, *gpus, **variables), FIND))


def test_a_library_without_a_gpu_is_no_problem(driver: Path) -> None:
    assert find(driver) == {"gpus": [], "problem": "", "energy": [], "telemetry": []}


def test_without_a_library_there_is_no_gpu_and_no_problem(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library, whatever driver there may be here")
    assert find(tmp_path, LARGE) == {"gpus": [], "problem": "", "energy": [], "telemetry": []}


def test_what_the_driver_says_is_what_is_found(driver: Path, tmp_path: Path) -> None:
    counter = tmp_path / "energy"
    counter.write_text("123456789")
    found = find(driver, LARGE, SMALL, ENERGY_FILE=str(counter))
    large, small = found["gpus"]
    assert large == {
        "uuid": "GPU-aaaa-1",
        "name": "NVIDIA H100 80GB HBM3",
        "memory": 81_559 * 2**20,
        "capability": "9.0",
        "driver": "570.86.15",
        "has_energy_counter": True,
    }
    assert (small["name"], small["has_energy_counter"]) == ("Tesla T4", False)
    assert found["energy"] == [123_456_789, None]
    assert found["problem"] == ""
    # This library does not tell the power: what is not said is absent.
    assert found["telemetry"][0] == {
        "utilisation": 73,
        "memory_used": 81_559 * 2**20 // 4,
        "power": None,
        "temperature": 41,
    }


def test_a_gpu_that_is_lost_is_named_and_hides_no_other(driver: Path) -> None:
    found = find(driver, LOST, SMALL)
    assert [gpu["name"] for gpu in found["gpus"]] == ["Tesla T4"]
    assert "GPU 0 of the driver does not answer" in found["problem"]


def test_a_gpu_in_parts_is_named_and_not_taken_for_a_whole_one(driver: Path) -> None:
    found = find(driver, DIVIDED, SMALL)
    assert [gpu["name"] for gpu in found["gpus"]] == ["Tesla T4"]
    assert "GPU 0 of the driver is divided into parts (MIG)" in found["problem"]


def test_a_driver_that_is_not_loaded_is_a_problem_with_a_sentence(driver: Path) -> None:
    found = find(driver, LARGE, DRIVER_IS_NOT_LOADED="1")
    assert found["gpus"] == []
    assert "Driver Not Loaded" in found["problem"]


def test_only_what_cuda_may_see_is_found(driver: Path) -> None:
    found = find(driver, LARGE, SMALL, CUDA_VISIBLE_DEVICES="1")
    assert [gpu["name"] for gpu in found["gpus"]] == ["Tesla T4"]


def make_gpu(uuid: str) -> Gpu:
    return Gpu(uuid, "a", 0, "9.0", "1", has_energy_counter=False)


FIRST, SECOND, THIRD = make_gpu("GPU-a1"), make_gpu("GPU-a2"), make_gpu("GPU-b1")


@pytest.mark.parametrize(
    ("variable", "chosen"),
    [
        (None, (FIRST, SECOND, THIRD)),
        ("", ()),
        ("2,0", (THIRD, FIRST)),
        ("GPU-b", (THIRD,)),
        ("GPU-a", ()),
        ("1,7,0", (SECOND,)),
        ("0,0", (FIRST,)),
        ("-1,0", ()),
        ("MIG-a1", ()),
        ("GPU-a1, GPU-b1", (FIRST, THIRD)),
    ],
)
def test_the_list_ends_where_cuda_ends_it(variable: str | None, chosen: tuple[Gpu, ...]) -> None:
    assert select_visible((FIRST, SECOND, THIRD), variable) == chosen
