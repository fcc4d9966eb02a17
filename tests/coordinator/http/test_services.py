"""The services' endpoints and the registry, as the documents show them."""

from typing import Any

import pytest

from tests.support.world import World

BODIES: dict[str, dict[str, Any]] = {
    "/v1/services/whisper/transcribe": {
        "audio_url": "https://example.com/audio.mp3", "model": "base", "language": "en",
        "task": "transcribe",
    },
    "/v1/services/stable-diffusion/generate": {
        "prompt": "A beautiful sunset over mountains", "model": "stable-diffusion-1.5",
        "size": "1024x1024", "num_images": 1, "steps": 20,
    },
    "/v1/services/llm/inference": {
        "model": "llama-7b", "prompt": "Explain quantum computing", "max_tokens": 256,
        "temperature": 0.7,
    },
    "/v1/services/ffmpeg/transcode": {
        "input_url": "https://example.com/video.mp4", "output_format": "mp4", "codec": "h264",
        "resolution": "1920x1080",
    },
    "/v1/services/blender/render": {
        "blend_file_url": "https://example.com/scene.blend", "engine": "cycles",
        "resolution_x": 1920, "resolution_y": 1080, "samples": 128,
    },
}  # fmt: skip


@pytest.mark.parametrize("path", BODIES)
async def test_each_endpoint_makes_an_ordinary_escrowed_job(world: World, path: str) -> None:
    reply = await world.call("POST", path, "client", BODIES[path])
    assert reply.status == 201, reply
    assert reply.json["model"] == BODIES[path].get("model", reply.json["model"])
    job = await world.until(reply.headers["Location"], "client", lambda j: j["phase"] == "queued")
    assert job["settlement"]["state"] == "locked"
    assert int(job["escrow_base"]) > 0


async def test_the_same_request_in_each_shape_is_the_same_job(world: World) -> None:
    flat = {"texts": ["a", "b"], "model": "all-minilm-l6-v2"}
    bodies = (
        {"type": "text_embedding", "input": {"texts": ["a", "b"]}},
        {"type": "ai-inference", "model": {"name": flat["model"]}, "input": {"texts": ["a", "b"]}},
        {"input": {"texts": ["a", "b"]}},
    )
    jobs = [(await world.call("POST", "/v1/jobs", "client", body)).json for body in bodies]
    assert {job["service"] for job in jobs} == {"text_embedding"}
    assert len({(job["model"], job["escrow_base"]) for job in jobs}) == 1


@pytest.mark.parametrize(
    ("path", "change", "pointer"),
    [
        ("llm/inference", {"max_tokens": 0}, "/max_tokens"),
        ("llm/inference", {"max_cost": "x"}, "/max_cost"),
        ("llm/inference", {"model": "tiny.en"}, "/model"),
        ("whisper/transcribe", {"audio_url": "http://u:p@a.example/"}, "/audio_url"),
        ("whisper/transcribe", {"audio_url": "http://a.example:22/"}, "/audio_url"),
        ("whisper/transcribe", {"audio_url": "file_" + "00" * 32}, "/audio_url"),
        ("stable-diffusion/generate", {"size": "1x1"}, "/size"),
        ("ffmpeg/transcode", {"codec": "divx"}, "/codec"),
        ("blender/render", {"timeout_seconds": 0}, "/timeout_seconds"),
    ],
)
async def test_a_member_that_cannot_be_is_named(
    world: World, path: str, change: dict[str, Any], pointer: str
) -> None:
    body = {**BODIES[f"/v1/services/{path}"], **change}
    reply = await world.call("POST", f"/v1/services/{path}", "client", body)
    assert reply.status == 422, reply
    assert reply.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"type": "text_embedding", "input": {"texts": []}}, "/input/texts"),
        ({"prompt": "a", "params": {"seed": -1}}, "/params/seed"),
        ({"prompt": "a", "input": {"prompt": "b"}}, "/prompt"),
        ({"type": "text_embedding"}, "/input/texts"),
        ({"prompt": "a", "output_config": {"destination": "s3://b/c"}},
         "/output_config/destination"),
        ({"input": {"messages": [{"role": "user"}]}}, "/input/messages/0/content"),
    ],
)  # fmt: skip
async def test_a_shape_names_the_member_where_it_stands(
    world: World, body: dict[str, Any], pointer: str
) -> None:
    reply = await world.call("POST", "/v1/jobs", "client", body)
    assert reply.status == 422, reply
    assert reply.json["errors"][0]["pointer"] == pointer


async def test_the_registry_is_public_and_says_what_each_service_takes(world: World) -> None:
    reply = await world.call("GET", "/v1/registry/services")
    assert reply.status == 200
    ids = [service["service_id"] for service in reply.json["services"]]
    assert {"llm_inference", "whisper_transcription", "stable_diffusion", "video_transcoding",
            "blender_rendering", "text_embedding", "onnx_inference"} <= set(ids)  # fmt: skip
    for name in ids:
        shown = await world.call("GET", f"/v1/registry/services/{name}")
        assert shown.json["verification"] in ("exact", "tolerance", "logit_gap", "none")
        schema = await world.call("GET", f"/v1/registry/services/{name}/schema")
        assert schema.json["$schema"].endswith("2020-12/schema")
        needs = await world.call("GET", f"/v1/registry/services/{name}/requirements")
        assert needs.json == shown.json["requirements"]
    assert (await world.call("GET", "/v1/registry/services/none")).status == 404
    for query, expected in (("category=image", ["stable_diffusion"]), ("search=SPEECH", ids[1:2])):
        found = await world.call("GET", f"/v1/registry/services?{query}")
        assert [service["service_id"] for service in found.json["services"]] == expected


async def test_a_request_is_checked_before_it_is_sent(world: World) -> None:
    async def check(service: str, data: dict[str, Any]) -> Any:
        body = {"service_id": service, "request_data": data}
        reply = await world.call("POST", "/v1/registry/services/validate", None, body)
        assert reply.status == 200, reply
        return reply.json

    good = {"model": "llama-7b", "prompt": "Hello world", "max_tokens": 256}
    first = await check("llm_inference", good)
    assert first["valid"] is True and first["errors"] == []
    assert [warning["pointer"] for warning in first["warnings"]] == ["/model"]
    await world.register(capabilities=["llm_inference", "llama-7b"])
    await world.coordinator.wait_followed()
    assert (await check("llm_inference", good))["warnings"] == []
    odd = await check("llm_inference", {"prompt": "a", "max_token": 5})
    assert odd["valid"] is True and odd["warnings"][0]["pointer"] == "/max_token"
    bad = await check("stable_diffusion", {"size": "1x1"})
    assert bad["valid"] is False
    assert {error["pointer"] for error in bad["errors"]} == {"/prompt", "/size"}
    inside = await check("whisper_transcription", {"audio_url": "http://a@10.0.0.1/"})
    assert inside["valid"] is False
    brought = {"model_url": "https://example.com/m.onnx", "tensors": {"x": 1}}
    for model, pointers in (({}, ["/model"]), ({"model": "m@" + "0a" * 32}, [])):
        found = await check("onnx_inference", {**brought, **model})
        assert [error["pointer"] for error in found["errors"]] == pointers
    assert (await check("onnx_inference", {**brought, "model_url": "file_" + "0a" * 32}))["valid"]
    body = {"service_id": "none", "request_data": {}}
    assert (await world.call("POST", "/v1/registry/services/validate", None, body)).status == 404
