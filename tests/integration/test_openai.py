"""The `openai` package, unmodified, against a true node: every call is a job settled on chain."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from openai import AsyncOpenAI

from coordinator.services.models import MODELS
from genesis.document import dump_genesis
from node import folder
from tests.support.custody import Keys, enrol, until
from tests.support.node import NODE, RunningNode, build_genesis, reopened_node
from tests.support.played_miner import PlayedMiner, playing

PICTURE = base64.b64encode(b"\x89PNG").decode()
CHAT: Any = [{"role": "user", "content": "Name three colours."}]


class Scene(NamedTuple):
    node: RunningNode
    keys: Keys
    client: AsyncOpenAI
    miner: PlayedMiner


def do_work(content: dict[str, Any]) -> tuple[Any, list[str]]:
    match content["service"]:
        case "llm_inference":
            if "forever" in str(content["input"]):
                return {"text": "never"}, ["again "] * 10_000
            pieces = ["Red", ", green", ", blue."]
            return {
                "text": "".join(pieces),
                "finish_reason": "stop",
                "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
            }, pieces
        case "text_embedding":
            count = len(content["input"]["texts"])
            vectors = [[0.5, -0.25, float(index)] for index in range(count)]
            return {"embeddings": vectors, "usage": {"total_tokens": 4}}, []
        case "whisper_transcription":
            segments = [{"start": 0.0, "end": 1.5, "text": " Hello there."}]
            text = {"text": "Hello there.", "language": "en", "duration": 1.5}
            return {**text, "segments": segments}, []
        case _:
            count = content["params"]["num_images"]
            return {"images": [{"b64_json": PICTURE, "media_type": "image/png"}] * count}, []


@asynccontextmanager
async def open_scene(place: Path, pause: float = 0.01) -> AsyncIterator[Scene]:
    genesis = build_genesis()
    await asyncio.to_thread(folder.create_folder, place / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, place / "n")
    async with reopened_node(place / "n", genesis, rate_limits="9000/minute, 90000/hour") as node:
        services = sorted({model.service for model in MODELS.values()})
        models = [f"{name}@{model.sha256}" for name, model in MODELS.items()]
        key = keys["client"]["X-Api-Key"]
        async with (
            playing(node, keys["miner"], services, models, do_work, pause) as miner,
            AsyncOpenAI(api_key=key, base_url=f"{node.url}/v1", max_retries=0) as client,
        ):
            yield Scene(node, keys, client, miner)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


async def check_settled(scene: Scene, job_id: str) -> None:
    job = await until(scene.node, f"/v1/jobs/{job_id}", scene.keys["client"], lambda j: True)
    assert job["status"] == "completed"
    receipt_id = job_id.replace("job_", "receipt_")
    shown = await scene.node.get(f"/v1/receipts/{receipt_id}", headers=scene.keys["client"])
    assert shown.body["status"] == "final"


async def test_a_chat_is_a_settled_job(scene: Scene) -> None:
    raw = await scene.client.chat.completions.with_raw_response.create(
        model="smollm2-135m", messages=CHAT, max_tokens=20, stop=["\n"], seed=7
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "Red, green, blue."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens == 11
    assert answer.model == "smollm2-135m"
    assert raw.headers["AITBC-Receipt-Id"].startswith("receipt_")
    await check_settled(scene, raw.headers["AITBC-Job-Id"])


async def test_a_chat_streams(scene: Scene) -> None:
    stream = await scene.client.chat.completions.create(
        model="smollm2-135m",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Colours?"}]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    job_id = stream.response.headers["AITBC-Job-Id"]
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == "Red, green, blue."
    assert len([piece for piece in pieces if piece]) >= 2
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 6
    await check_settled(scene, job_id)


async def test_completions(scene: Scene) -> None:
    answer = await scene.client.completions.create(model="smollm2-135m", prompt="Colours:")
    assert answer.choices[0].text == "Red, green, blue."
    stream = await scene.client.completions.create(
        model="smollm2-135m", prompt="Colours:", stream=True
    )
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Red, green, blue."


async def test_embeddings(scene: Scene) -> None:
    answer = await scene.client.embeddings.create(model="all-minilm-l6-v2", input=["a", "b"])
    assert [each.embedding for each in answer.data] == [[0.5, -0.25, 0.0], [0.5, -0.25, 1.0]]
    plain = await scene.client.embeddings.create(
        model="all-minilm-l6-v2", input="a", encoding_format="float"
    )
    assert plain.data[0].embedding == [0.5, -0.25, 0.0]
    assert plain.usage.total_tokens == 4


async def test_transcriptions(scene: Scene) -> None:
    async def ask(form: Any) -> Any:
        sound = ("a.wav", io.BytesIO(b"RIFF" + bytes(1_000)))
        return await scene.client.audio.transcriptions.create(
            model="tiny.en", file=sound, response_format=form, language="en"
        )

    assert (await ask("json")).text == "Hello there."
    assert await ask("text") == "Hello there.\n"
    assert (await ask("verbose_json")).segments[0].end == 1.5
    assert await ask("srt") == "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n"
    assert (await ask("vtt")).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n")
    files = await scene.node.get("/v1/files", headers=scene.keys["client"])
    assert files.body["total"] == 0


async def test_images(scene: Scene) -> None:
    answer = await scene.client.images.generate(
        model="tiny", prompt="a red circle", n=2, size="256x256", response_format="b64_json"
    )
    assert answer.data is not None
    assert [image.b64_json for image in answer.data] == [PICTURE, PICTURE]


async def test_models(scene: Scene) -> None:
    models = await scene.client.models.list()
    assert {model.id for model in models.data} == set(MODELS)
    assert (await scene.client.models.retrieve("tiny.en")).owned_by == "miners"
    with pytest.raises(openai.NotFoundError):
        await scene.client.models.retrieve("gpt-4")


async def test_a_hang_up_cancels_the_job_and_stops_the_engine(tmp_path: Path) -> None:
    async with open_scene(tmp_path, pause=0.05) as scene:
        stream = await scene.client.chat.completions.create(
            model="smollm2-135m", messages=[{"role": "user", "content": "forever"}], stream=True
        )
        job_id = stream.response.headers["AITBC-Job-Id"]
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await asyncio.wait_for(scene.miner.was_told.wait(), 10)
        assert scene.miner.cancelled == [job_id]
        path = f"/v1/jobs/{job_id}"
        ended = await until(
            scene.node, path, scene.keys["client"], lambda job: job["status"] == "cancelled"
        )
        assert ended["settlement"]["state"] == "refunded"


async def test_what_nobody_can_do_locks_nothing(scene: Scene) -> None:
    with pytest.raises(openai.ConflictError) as caught:
        await scene.client.chat.completions.create(model="gpt-4", messages=CHAT)
    assert caught.value.code == "NO_CAPABLE_MINER"
    assert isinstance(caught.value.body, dict)
    assert "smollm2-135m" in caught.value.body["offered"]["models"]
    jobs = await scene.node.get("/v1/jobs", headers=scene.keys["client"])
    assert jobs.body["total"] == 0


async def test_errors_are_the_packages_own(scene: Scene) -> None:
    ask = scene.client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(model="smollm2-135m", messages=CHAT, temperature=3)
    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")
    for unsupported in ({"n": 2}, {"logprobs": True}, {"response_format": {"type": "json_object"}}):
        with pytest.raises(openai.BadRequestError):
            await ask(model="smollm2-135m", messages=CHAT, **unsupported)
    with pytest.raises(openai.BadRequestError) as caught:
        await scene.client.embeddings.create(model="tiny.en", input="a")
    assert caught.value.param == "model"
    with pytest.raises(openai.APIStatusError) as poor:
        await ask(model="smollm2-135m", messages=CHAT, extra_headers={"AITBC-Max-Cost": "5000000"})
    assert (poor.value.status_code, poor.value.code) == (402, "INSUFFICIENT_BALANCE")
    stranger = scene.client.with_options(api_key="aitbc_nobody")
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()
    wrong = scene.client.with_options(api_key=scene.keys["miner"]["X-Api-Key"])
    with pytest.raises(openai.PermissionDeniedError):
        await wrong.chat.completions.create(model="smollm2-135m", messages=CHAT)
