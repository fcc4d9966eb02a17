"""Jobs run again by the real engines: what they made stands, one forged place of it does not."""

import asyncio
import base64
import copy
import shutil
import subprocess
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.receipts import ReceiptCore
from ledger.terms import compute_content_hash
from miner import bench_model
from miner.engines import blender, video
from miner.engines.image_model import encode_png
from miner.engines.interface import OUTPUT
from miner.hashing import hash_file
from miner.kinds import KINDS
from miner.models import load_packaged_lock
from miner.opening import close_engines, open_engines
from miner.recheck.pictures import read_png
from miner.recheck.rerun import (
    Claim,
    FetchFile,
    OtherJobError,
    Recheck,
    check_units,
    recheck,
    weigh_pins,
)
from miner.recheck.verdict import Standing, Verdict, refuse
from miner.settings import MinerSettings
from tests.ledger.test_receipts import CORE
from tests.support.blend_scene import make_scene

FOX = Path(__file__).parents[2] / "fixtures/audio/fox.wav"
LOCK = load_packaged_lock()

Forge = Callable[[dict[str, Any]], None]


def make_content(service: str, held: Mapping[str, Any], **params: Any) -> dict[str, Any]:
    model = LOCK.find(KINDS[service].model)
    name = "a_model" if model is None else model.identity
    return {"service": service, "model": name, "input": held, "params": params}


def name_files(content: dict[str, Any], **sources: Path) -> dict[str, Any]:
    """Return a content whose sources are files of the API, as a coordinator writes it."""
    digests = {member: hash_file(path) for member, path in sources.items()}
    return {
        **content,
        "input": {**content["input"], **{name: f"file_{digests[name]}" for name in digests}},
        "files": {f"file_{digest}": {"sha256": digest} for digest in digests.values()},
    }


def serve_files(*paths: Path) -> FetchFile:
    held = {f"file_{hash_file(path)}": path for path in paths}

    async def fetch_file(file_id: str, path: Path) -> None:
        await asyncio.to_thread(shutil.copy, held[file_id], path)

    return fetch_file


async def make_claim(content: dict[str, Any], folder: Path, **sources: Path) -> Claim:
    """Return a job's receipt as its miner would have signed it, with content and result."""
    chosen: dict[str, Any] = {"kinds": [content["service"]], "device": "cpu"}
    engines = await open_engines(MinerSettings.model_construct(**chosen))
    try:
        task = engines[content["service"]].read(content)
        files = {**sources, OUTPUT: folder}
        made = await task.run(files, lambda *_: None, asyncio.Event())
    finally:
        await close_engines(engines)
    core = msgspec.structs.replace(
        CORE,
        service=content["service"],
        verification=KINDS[content["service"]].verification,
        unit_type=KINDS[content["service"]].unit_type,
        model=content["model"],
        units=made.units,
        engine=made.engine,
        device=made.device,
        pins=dict(made.pins),
    )
    stored = [
        {"file_id": "file_x", "name": file.name, "sha256": hash_file(file.path)}
        for file in made.files
    ]
    return sign(core, content, {**made.answer, "files": stored} if stored else made.answer)


def sign(core: ReceiptCore, content: Mapping[str, Any], result: Mapping[str, Any]) -> Claim:
    core = msgspec.structs.replace(
        core,
        input_hash=compute_content_hash(content).hex(),
        result_hash=compute_content_hash(result).hex(),
    )
    return Claim(core, content, result)


def lie(claim: Claim, forge: Forge, **members: Any) -> Claim:
    """Return the claim of a miner that signs another result."""
    result = copy.deepcopy(dict(claim.result))
    forge(result)
    return sign(msgspec.structs.replace(claim.core, **members), claim.content, result)


def keep(result: dict[str, Any]) -> None:
    """Forge nothing."""


async def check(claim: Claim, *files: Path) -> Recheck:
    return await recheck(claim, serve_files(*files))


async def test_vectors(tmp_path: Path) -> None:
    content = make_content("text_embedding", {"texts": ["one", "two"]})
    claim = await make_claim(content, tmp_path)
    found = await check(claim)
    assert found.verdict.standing is Standing.STANDS and found.pins == claim.core.pins
    assert found.verdict.measure and found.verdict.value == pytest.approx(1)

    def nudge(result: dict[str, Any]) -> None:
        result["embeddings"][1][:40] = [value + 0.02 for value in result["embeddings"][1][:40]]

    assert (await check(lie(claim, nudge))).verdict.standing is Standing.REFUSED
    pins = {**claim.core.pins, "build": "aitbc-numpy-bert 9"}
    other = await check(lie(claim, nudge, pins=pins))
    assert other.verdict.standing is Standing.UNKNOWN
    assert "needs build aitbc-numpy-bert 9; here is" in other.verdict.reason


def test_a_refusal_under_other_pins_is_no_verdict() -> None:
    refused, stands = refuse("it is another"), Verdict(Standing.STANDS, "it is the same")
    core = msgspec.structs.replace(
        CORE, verification="tolerance", pins={"build": "a 1", "threads": "4", "seed": "7"}
    )
    here = {"build": "a 1", "threads": "1", "seed": "7"}
    assert weigh_pins(core, here, refused) is refused, "other threads are other last bits"
    exact = msgspec.structs.replace(core, verification="exact")
    for other, pins, reason in (
        (exact, here, "needs threads 4; here is 1"),
        (core, {**here, "build": "a 2"}, "needs build a 1; here is a 2"),
        (core, {**here, "seed": "8"}, "needs seed 7; here is 8"),
        (msgspec.structs.replace(core, pins={}), here, "does not say which build"),
    ):
        verdict = weigh_pins(other, pins, refused)
        assert verdict.standing is Standing.UNKNOWN and reason in verdict.reason
        assert weigh_pins(other, pins, stands) is stands


def test_no_more_is_billed_than_there_is() -> None:
    stands = Verdict(Standing.STANDS, "it is the same")
    assert check_units(CORE, CORE.units, stands) is stands
    assert check_units(CORE, CORE.units + 1, stands) is stands
    verdict = check_units(CORE, CORE.units - 1, stands)
    assert verdict.standing is Standing.REFUSED and "are billed" in verdict.reason
    timed = msgspec.structs.replace(CORE, unit_type="second")
    assert check_units(timed, 0, stands) is stands


async def test_pictures(tmp_path: Path) -> None:
    held = {"prompt": "a red ring on white"}
    content = make_content("stable_diffusion", held, num_images=2, size="64x64")
    claim = await make_claim(content, tmp_path)
    assert claim.core.pins["seed"] == str(claim.result["seed"])
    assert (await check(claim)).verdict.standing is Standing.STANDS

    def forge(result: dict[str, Any]) -> None:
        image = result["images"][1]
        pixels = read_png(base64.b64decode(image["b64_json"])).copy()
        pixels[40] = 255 - pixels[40]
        data = encode_png(pixels)
        image |= {"b64_json": base64.b64encode(data).decode(), "sha256": sha256(data).hexdigest()}

    found = await check(lie(claim, forge))
    assert found.verdict.standing is Standing.REFUSED and "picture 1" in found.verdict.reason


@pytest.mark.slow
async def test_transcripts(tmp_path: Path) -> None:
    content = name_files(make_content("whisper_transcription", {}), audio_url=FOX)
    claim = await make_claim(content, tmp_path, audio_url=FOX)
    assert (await check(claim, FOX)).verdict.standing is Standing.STANDS

    def forge(result: dict[str, Any]) -> None:
        result["text"] = result["text"].replace("fox", "dog")
        result["segments"][0]["text"] = result["segments"][0]["text"].replace("fox", "dog")

    assert (await check(lie(claim, forge), FOX)).verdict.standing is Standing.REFUSED


@pytest.mark.slow
async def test_videos(tmp_path: Path) -> None:
    source, folder = tmp_path / "bars.mp4", tmp_path / "output"
    folder.mkdir()
    bars = "testsrc=duration=1:size=160x90:rate=10"
    command = [str(video.find_program()), "-loglevel", "error", "-f", "lavfi", "-i", bars]
    await asyncio.to_thread(subprocess.run, [*command, str(source)], check=True)
    content = make_content("video_transcoding", {}, codec="h264", resolution="80x44")
    content = name_files(content | {"model": video.MODEL}, input_url=source)
    claim = await make_claim(content, folder, input_url=source)
    found = await check(claim, source)
    assert found.verdict.standing is Standing.STANDS, found
    assert found.verdict.value == claim.result["files"][0]["sha256"]

    data = bytearray((folder / "video.mp4").read_bytes())
    data[len(data) // 2] ^= 1  # in the middle of a frame
    forged = sha256(data).hexdigest()
    refused = await check(lie(claim, lambda made: made["files"][0].update(sha256=forged)), source)
    assert refused.verdict.standing is Standing.REFUSED
    fewer = await check(lie(claim, lambda made: made.update(frames=9)), source)
    assert fewer.verdict.standing is Standing.REFUSED
    elsewhere = await check(lie(claim, lambda made: made.update(frames=9), device="CPU 2"), source)
    assert elsewhere.verdict.standing is Standing.UNKNOWN
    assert "needs the device CPU 2" in elsewhere.verdict.reason


@pytest.mark.engines
async def test_frames(tmp_path: Path) -> None:
    scene, folder = make_scene("plain", tmp_path), tmp_path / "output"
    folder.mkdir()
    content = make_content("blender_rendering", {}, resolution_x=64, resolution_y=48, samples=4)
    content["params"] |= {"frames": 2, "seed": 5}
    content = name_files(content | {"model": blender.MODEL}, blend_file_url=scene)
    claim = await make_claim(content, folder, blend_file_url=scene)
    found = await check(claim, scene)
    assert found.verdict.standing is Standing.STANDS, found

    def swap(result: dict[str, Any]) -> None:
        first, second = result["files"]
        first["sha256"], second["sha256"] = second["sha256"], first["sha256"]

    refused = await check(lie(claim, swap), scene)
    assert refused.verdict.standing is Standing.REFUSED and "file 0" in refused.verdict.reason


@pytest.mark.slow
async def test_tensors(tmp_path: Path) -> None:
    model, folder = tmp_path / "model.onnx", tmp_path / "output"
    folder.mkdir()
    model.write_bytes(bench_model.build_model())
    tensors = {bench_model.INPUT: [float(number) for number in range(bench_model.SIDE)]}
    content = make_content("onnx_inference", {"tensors": tensors})
    content = name_files(content | {"model": bench_model.IDENTITY}, model_url=model)
    claim = await make_claim(content, folder, model_url=model)
    found = await check(claim, model)
    assert found.verdict.standing is Standing.STANDS and found.verdict.value == 0, found

    def forge(result: dict[str, Any]) -> None:
        [name] = result["tensors"]
        result["tensors"][name] = shift(result["tensors"][name])

    assert (await check(lie(claim, forge), model)).verdict.standing is Standing.REFUSED


def shift(value: Any) -> Any:
    """Return nested lists with the first number off by a tenth."""
    if isinstance(value, dict):
        return {name: shift(held) if name == "data" else held for name, held in value.items()}
    if isinstance(value, list):
        return [shift(value[0]), *value[1:]]
    return value + 0.1


async def test_text(tmp_path: Path) -> None:
    held = {"prompt": "Say yes."}
    content = make_content("llm_inference", held, max_tokens=8, temperature=0.7)
    claim = await make_claim(content, tmp_path)
    assert (await check(claim)).verdict.standing is Standing.STANDS


async def test_what_cannot_be_said_is_said() -> None:
    cases = {
        "nothing that custom_code makes": ("custom_code", "python"),
        "needs the model another; here is": ("text_embedding", "another"),
        "there is no engine for theatre": ("theatre", "hamlet"),
        "the model gpt-4 is not one": ("llm_inference", "gpt-4"),
    }
    for reason, (service, model) in cases.items():
        content = {"service": service, "model": model, "input": {"texts": ["one"]}, "params": {}}
        verification = KINDS[service].verification if service in KINDS else "exact"
        core = msgspec.structs.replace(
            CORE, service=service, model=model, verification=verification
        )
        verdict = (await check(sign(core, content, {"embeddings": [[0.0]]}))).verdict
        assert verdict.standing is Standing.UNKNOWN and reason in verdict.reason, verdict
        assert verdict.to_record()["verdict"] == "cannot say"


async def test_a_class_alone_is_no_service() -> None:
    content = {"service": "theatre", "model": "hamlet"}
    core = msgspec.structs.replace(
        CORE, service="theatre", model="hamlet", verification="logit_gap"
    )
    verdict = (await check(sign(core, content, {"text": "Hi"}))).verdict
    assert verdict.standing is Standing.UNKNOWN and "no engine for theatre" in verdict.reason


async def test_where_things_lie_is_for_the_environment_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"service": blender.SERVICE, "model": blender.MODEL}
    core = msgspec.structs.replace(
        CORE, **content, verification=KINDS[blender.SERVICE].verification, device="CPU"
    )
    claim = sign(core, content, {"frames": 1})
    monkeypatch.setenv("AITBC_MINER_BLENDER_ENVIRONMENT", str(tmp_path / "elsewhere"))
    assert f"no Blender at {tmp_path / 'elsewhere'}" in (await check(claim)).verdict.reason
    monkeypatch.setenv("AITBC_MINER_CONTEXT_TOKENS", "many")
    verdict = (await check(claim)).verdict
    assert verdict.standing is Standing.UNKNOWN and "AITBC_MINER_CONTEXT_TOKENS" in verdict.reason


async def test_another_content_or_result_is_not_looked_at() -> None:
    content = {"service": CORE.service, "model": CORE.model}
    claim = sign(CORE, content, {"text": "Hi"})
    for other in (
        claim._replace(content={"service": "custom_code"}),
        claim._replace(result={"text": "Ho"}),
        claim._replace(result={"text": float("nan")}),
    ):
        with pytest.raises(OtherJobError, match="is not the one that the receipt names"):
            await check(other)
    for members in ({"model": "a better one"}, {"service": "theatre"}, {"verification": "none"}):
        with pytest.raises(OtherJobError):
            await check(lie(claim, keep, **members))
