"""Kinds on a machine whose driver shows a GPU and whose engines' builds compute on the CPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_bench import fetch
from tests.support.gpu_driver import LARGE, build_driver, make_environment, run_beside

OPEN = """
import asyncio, json
from miner.gpu.announcement import choose_announced
from miner.kinds import KindUnavailableError
from miner.opening import close_engines, open_engines
from miner.settings import MinerSettings

async def main():
    given = json.loads({given!r})
    settings = MinerSettings(miner_id="m", api_key="k", key_file="k", **given)
    try:
        engines = await open_engines(settings)
    except KindUnavailableError as error:
        return str(error)
    try:
        devices = [(await engine.prepare()).device for engine in engines.values()]
        return [devices, await choose_announced(settings, engines)]
    finally:
        await close_engines(engines)

print(json.dumps(asyncio.run(main())))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


def open_kinds(driver: Path, kind: str, device: str) -> Any:
    program = OPEN.format(given=json.dumps({"kinds": [kind], "device": device}))
    lines = run_beside(make_environment(driver, LARGE), program).splitlines()
    return json.loads(lines[-1])


@pytest.mark.parametrize(
    ("kind", "model", "library"),
    [
        ("llm_inference", "smollm2-135m", "xllamacpp"),
        ("whisper_transcription", "tiny.en", "ctranslate2"),
    ],
)
def test_a_gpu_that_the_build_cannot_use_is_refused_where_it_is_asked_for(
    kind: str, model: str, library: str, driver: Path
) -> None:
    fetch(model)
    refusal = open_kinds(driver, kind, "cuda:0")
    assert f"{library} as installed computes on the CPU alone" in refusal
    assert "Traceback" not in refusal


def test_left_to_itself_it_computes_on_the_cpu_says_so_and_announces_no_gpu(driver: Path) -> None:
    fetch("smollm2-135m")
    (device,), announced = open_kinds(driver, "llm_inference", "auto")
    assert device.startswith("CPU")
    assert announced == {}


def test_an_engine_without_a_gpu_path_says_that_it_was_the_cpu(driver: Path) -> None:
    (device,), announced = open_kinds(driver, "stable_diffusion", "cuda:0")
    assert device.startswith("CPU")
    assert announced == {}
