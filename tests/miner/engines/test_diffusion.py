"""Pipelines of diffusers: what names one, what is refused, and pictures by a real one."""

import asyncio
import base64
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner.engines.diffusion import compute_identity, open_pipeline
from miner.engines.image import ImageEngine
from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.gpu.device import CPU, Device
from miner.gpu.hardware import Gpu
from tests.support.engine_bench import run

PIPELINE = Path(__file__).parents[2] / "fixtures" / "pipeline"
"""Made by `scripts/train_image_pipeline.py`."""
PROMPT = {"prompt": "a red circle on blue"}
SMALL = {"size": "32x32", "steps": 4, "seed": 7}


def copy(folder: Path) -> Path:
    return Path(shutil.copytree(PIPELINE, folder))


def test_a_pipeline_is_named_by_all_its_bytes(tmp_path: Path) -> None:
    same, other = copy(tmp_path / "a" / "pipeline"), copy(tmp_path / "b" / "pipeline")
    assert compute_identity(same) == compute_identity(PIPELINE)
    assert compute_identity(same).startswith("pipeline@")
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + " ")
    assert compute_identity(other) != compute_identity(same)
    config.rename(config.with_name("renamed.json"))
    renamed = compute_identity(other)
    parted = copy(tmp_path / "c" / "pipe@line")
    assert compute_identity(parted).startswith("pipe-line@")
    assert renamed not in (compute_identity(same), "")


@pytest.mark.parametrize("name", ["unet/weights.bin", "unet/pipeline.py", "vae/a.pkl", "a.ckpt"])
def test_what_may_hold_a_program_is_refused(name: str, tmp_path: Path) -> None:
    folder = copy(tmp_path / "pipeline")
    (folder / name).write_bytes(b"")
    with pytest.raises(EngineFailedError, match="is not data"):
        compute_identity(folder)


def test_another_folder_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(EngineFailedError, match=r"no model_index\.json"):
        compute_identity(tmp_path)


def test_without_the_extra_it_says_what_to_install() -> None:
    with pytest.raises(EngineFailedError, match=r"pip install 'aitbc\[diffusers\]'"):
        open_pipeline(PIPELINE, 1, CPU)


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ImageEngine]:
    monkeypatch.chdir(tmp_path)
    engine = open_pipeline(PIPELINE, 1, CPU)
    yield engine
    await engine.close()
    assert not os.listdir(), "an engine leaves nothing where it runs"


@pytest.mark.diffusers
async def test_the_same_seed_draws_the_same_picture(engine: ImageEngine) -> None:
    about = await engine.prepare()
    assert "diffusers" in about.text and "float32" in about.text and "CPU" in about.device
    seen: list[int] = []
    result = await run(
        engine, PROMPT, SMALL | {"num_images": 2}, on_progress=lambda step, _: seen.append(step)
    )
    first, second = result.answer["images"]
    data = base64.b64decode(first["b64_json"])
    assert hashlib.sha256(data).hexdigest() == first["sha256"] != second["sha256"]
    assert data.startswith(b"\x89PNG") and result.units == 2
    assert seen == sorted(seen) and seen[-1] > 50
    again = await run(engine, PROMPT, SMALL)
    assert again.answer["images"] == [first]
    assert again.pins["seed"] == "7" and again.pins["build"].startswith("diffusers")
    changed = await run(engine, {"prompt": "a green square on black"}, SMALL)
    assert changed.answer["images"] != [first]
    with pytest.raises(InputInvalidError, match="multiples of 2"):
        await run(engine, PROMPT, {"size": "33x32"})


@pytest.mark.diffusers
async def test_a_stop_leaves_the_pictures_made_by_then(engine: ImageEngine) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stopped_at = 0.0

    def on_progress(progress: int, _: str) -> None:
        nonlocal stopped_at
        if progress >= 30 and not stop.is_set():
            stop.set()
            stopped_at = loop.time()

    params = {"size": "64x64", "steps": 100, "num_images": 4}
    result = await run(engine, PROMPT, params, on_progress=on_progress, stop=stop)
    assert loop.time() - stopped_at < 2
    assert result.is_cut and result.units in (0, 1)


@pytest.mark.diffusers
async def test_a_gpu_that_torch_does_not_see_is_refused() -> None:
    gpu = Gpu("GPU-0", "NVIDIA L4", 24 * 10**9, "8.9", "570.1", has_energy_counter=False)
    engine = open_pipeline(PIPELINE, 1, Device(gpu, is_required=True))
    with pytest.raises(EngineFailedError, match="torch"):
        await engine.prepare()
    await engine.close()
