"""Scenes rendered by the real Blender (`engines`), and what needs none: contents and words."""

import asyncio
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from ledger.receipts import parse_receipt
from miner.engines.blender import (
    MODEL,
    SOURCE,
    BlenderEngine,
    RenderResourceMissingError,
    Told,
)
from miner.engines.blender_runner import keep_picture
from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.gpu.device import CPU, Device
from miner.gpu.hardware import Gpu
from miner.sandbox.interface import Ending
from miner.sandbox.open import find_sandbox
from tests.support.blend_scene import ENVIRONMENT, ESCAPED, make_scene, run_blender
from tests.support.foreign_bench import Left, run_foreign
from tests.support.miner_bench import mine
from tests.support.miner_market import open_market

SMALL = {"resolution_x": 64, "resolution_y": 48, "samples": 4, "frames": 2, "seed": 5}
ENDED = Ending(
    exit_code=0, limit=None, is_stopped=False, last_words="", cpu_seconds=0, peak_bytes=0,
    bounds="prlimit",
)  # fmt: skip


async def open_engine(environment: Path = ENVIRONMENT, device: Device = CPU) -> BlenderEngine:
    sandbox = await find_sandbox(allow_unsandboxed=False)
    return BlenderEngine(sandbox, environment, 1, device)


async def render(folder: Path, scene: Path, **choices: Any) -> Left:
    engine = await open_engine()
    await engine.prepare()
    params = {**SMALL, **choices.pop("params", {})}
    sources = {SOURCE: scene}
    return await run_foreign(engine, folder, MODEL, params, sources=sources, **choices)


async def test_without_an_environment_the_command_is_named(tmp_path: Path) -> None:
    engine = await open_engine(tmp_path / "absent")
    with pytest.raises(EngineFailedError, match="make engines"):
        await engine.prepare()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"engine": "eevee"}, "engine"),
        ({"frames": 65}, "frames"),
        ({"resolution_x": 8}, "resolution_x"),
        ({"samples": 0}, "samples"),
        ({"script": "import os"}, "script"),
    ],
)
async def test_what_no_render_is_made_of_is_refused(params: dict[str, Any], words: str) -> None:
    engine = await open_engine()
    held = {SOURCE: "file_" + "0a" * 32}
    with pytest.raises(InputInvalidError, match=words):
        engine.read({"input": held, "params": params})


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"invalid": "no camera"}', InputInvalidError),
        ('{"missing": "no GPU"}', RenderResourceMissingError),
        ('{"failed": "it broke"}', EngineFailedError),
        ("Fra:1 Mem:10M", EngineFailedError),
        ("[" * 100_000, EngineFailedError),
    ],
)
def test_what_blender_tells_decides_whose_fault_it_is(line: str, kind: type[Exception]) -> None:
    told = Told()
    told.add(line)
    with pytest.raises(kind):
        told.check(ENDED)


def test_a_picture_is_kept_and_its_words_are_not() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    start, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    picture = chunk(b"IHDR", bytes(13)) + chunk(b"IDAT", b"rows")
    words = chunk(b"tEXt", b"RenderTime\x0000:01") + chunk(b"eXIf", b"MM")
    assert keep_picture(start + picture + words + end) == start + picture + end


@pytest.mark.engines
async def test_a_scene_is_rendered_twice_the_same(tmp_path: Path) -> None:
    scene = await asyncio.to_thread(make_scene, "plain", tmp_path)
    heard: list[int] = []
    lefts = [
        await render(tmp_path, scene, on_progress=lambda progress, _: heard.append(progress))
        for _ in range(2)
    ]
    first = lefts[0].result
    assert lefts[0].files == lefts[1].files
    assert list(lefts[0].files) == ["frame_0001.png", "frame_0002.png"]
    assert lefts[0].files["frame_0001.png"] != lefts[0].files["frame_0002.png"]
    for picture in lefts[0].files.values():
        assert struct.unpack(">II", picture[16:24]) == (64, 48)
        assert b"tEXt" not in picture
    assert (first.units, heard) == (2, [50, 99] * 2)
    assert first.engine.startswith("Blender 5.0.1 (") and "Cycles" in first.engine
    assert first.device.startswith("CPU ")
    assert (first.pins["samples"], first.pins["seed"], first.pins["threads"]) == ("4", "5", "1")
    other = await render(tmp_path, scene, params={"seed": 6})
    assert other.files != lefts[0].files


def find_escaped(folder: Path) -> list[Path]:
    return list(folder.rglob(ESCAPED))


@pytest.mark.engines
async def test_a_scene_never_runs_its_python(tmp_path: Path) -> None:
    scene = await asyncio.to_thread(make_scene, "hostile", tmp_path)
    left = await render(tmp_path, scene)
    assert left.result.answer["are_scripts_refused"]
    assert list(left.files) == ["frame_0001.png", "frame_0002.png"]
    assert not find_escaped(tmp_path)
    # The same scene in careless hands.
    await asyncio.to_thread(run_blender, "--open", str(scene), folder=tmp_path)
    assert find_escaped(tmp_path) == [tmp_path / ESCAPED]


@pytest.mark.engines
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("outside", "'wood' is no part of the scene's file"),
        ("blind", "no camera"),
        ("programmed", "Open Shading Language"),
        ("drawn", "Freestyle scripts"),
        ("animated", r"changes cycles\.samples"),
        ("broken", "not a scene"),
    ],
)
async def test_a_scene_that_cannot_be_rendered_whole_is_refused(
    kind: str, words: str, tmp_path: Path
) -> None:
    scene = tmp_path / "broken.blend"
    scene.write_bytes(b"BLENDER-v500" + bytes(1_000))
    if kind != "broken":
        scene = await asyncio.to_thread(make_scene, kind, tmp_path)
    with pytest.raises(InputInvalidError, match=words):
        await render(tmp_path, scene)


@pytest.mark.engines
async def test_a_render_is_stopped_within_two_seconds(tmp_path: Path) -> None:
    scene = await asyncio.to_thread(make_scene, "plain", tmp_path)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    stopped: list[float] = []

    def end(progress: int, _: str) -> None:
        # The first frame is done, and the second begins.
        loop.call_later(0.5, stop.set)
        stopped.append(loop.time() + 0.5)

    long = {"samples": 150, "frames": 64, "resolution_x": 256, "resolution_y": 256}
    left = await render(tmp_path, scene, params=long, on_progress=end, stop=stop)
    assert loop.time() - stopped[0] < 2
    assert (left.result.is_cut, left.result.units, left.files) == (True, 0, {})


@pytest.mark.engines
async def test_a_gpu_that_blender_does_not_find_is_no_cpu(tmp_path: Path) -> None:
    gpu = Gpu(
        uuid="GPU-absent",
        name="absent",
        memory=8 << 30,
        driver="0",
        capability="9.0",
        has_energy_counter=False,
    )
    engine = await open_engine(device=Device(gpu, is_required=True))
    with pytest.raises(RenderResourceMissingError, match="finds no GPU by OPTIX or CUDA"):
        await engine.prepare()


@pytest.mark.engines
async def test_a_render_is_settled_and_its_pictures_are_the_result(tmp_path: Path) -> None:
    scene = await asyncio.to_thread(make_scene, "plain", tmp_path)
    choices = {"kinds": ["blender_rendering"], "blender_environment": ENVIRONMENT}
    async with open_market(tmp_path, **choices) as market, mine(market.settings):
        client = market.client
        uploaded = await client.files.upload(scene)
        body = {"type": "blender_rendering", "input": {SOURCE: uploaded.file_id}, "params": SMALL}
        job = await client.jobs.create(json.loads(json.dumps(body)))
        await client.jobs.wait(job.job_id, timeout=60)
        result = (await client.jobs.get_results(job.job_id))["results"]
        picture = await client.files.download(result["files"][0]["file_id"])
        core, _ = parse_receipt((await client.jobs.get_receipt(job.job_id)).to_dict())
    assert picture.startswith(b"\x89PNG")
    assert (core.units, core.unit_type, core.verification) == (2, "frame", "exact")
    assert core.engine.startswith("Blender 5.0.1")
