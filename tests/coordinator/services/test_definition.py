"""The schema that is served says of every body what the model that is enforced says."""

import json
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.services.registry import SERVICES

FILE = "file_" + "0a" * 32
GOOD: dict[str, list[dict[str, Any]]] = {
    "llm_inference": [
        {"model": "llama-7b", "prompt": "Explain quantum computing", "max_tokens": 256,
         "temperature": 0.7},
        {"messages": [{"role": "user", "content": "Hi"}], "stop": ["\n"], "seed": 1},
        {"prompt": "x", "temperature": 0, "nobody": "knows"},
    ],
    "whisper_transcription": [
        {"audio_url": "https://example.com/audio.mp3", "model": "base", "language": "en",
         "task": "transcribe"},
        {"audio_url": FILE},
    ],
    "stable_diffusion": [
        {"prompt": "A beautiful sunset", "model": "stable-diffusion-1.5", "size": "1024x1024",
         "num_images": 1, "steps": 20},
        {"prompt": "", "size": "16x2048", "seed": 0},
    ],
    "video_transcoding": [
        {"input_url": "https://example.com/video.mp4", "output_format": "mp4", "codec": "h264",
         "resolution": "1920x1080"},
    ],
    "blender_rendering": [
        {"blend_file_url": "https://example.com/scene.blend", "engine": "cycles",
         "resolution_x": 1920, "resolution_y": 1080, "samples": 128},
    ],
    "text_embedding": [{"texts": ["a", "b"]}],
    "onnx_inference": [
        {"model_url": "https://example.com/m.onnx", "tensors": {"x": [[1.5, 2]]}},
        {"model_url": FILE, "tensors": {"x": 1}},
    ],
    "custom_code": [
        {"requirements": ["numpy"], "anything": {"at": "all"}}, {}, {"source": "print(1)"},
        {"source_url": FILE, "entrypoint": "model.py", "fuel": 10**15},
    ],
}  # fmt: skip
BAD: dict[str, list[dict[str, Any]]] = {
    "llm_inference": [
        {}, {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, {"messages": []},
        {"prompt": "a", "max_tokens": 0}, {"prompt": "a", "max_tokens": "5"},
        {"prompt": "a", "temperature": 2.5}, {"prompt": "a", "stop": "x"},
        {"messages": [{"role": "tool", "content": "b"}]}, {"prompt": "a", "seed": 2**31},
        {"prompt": "a", "top_p": 0}, {"prompt": 1}, {"prompt": "a", "model": ""},
    ],
    "whisper_transcription": [
        {}, {"audio_url": "ftp://a.example"}, {"audio_url": "file_1"}, {"audio_url": "http://a b"},
        {"audio_url": FILE, "language": "English"}, {"audio_url": FILE, "task": "sing"},
    ],
    "stable_diffusion": [
        {}, {"prompt": "a", "size": "15x16"}, {"prompt": "a", "size": "2049x16"},
        {"prompt": "a", "num_images": 11}, {"prompt": "a", "steps": 0}, {"prompt": "a", "size": 16},
    ],
    "video_transcoding": [{}, {"input_url": FILE, "codec": "divx"},
                          {"input_url": FILE, "resolution": "1x1"}],
    "blender_rendering": [{}, {"blend_file_url": FILE, "samples": 0},
                          {"blend_file_url": FILE, "engine": "luxrender"}],
    "text_embedding": [{}, {"texts": []}, {"texts": [""]}, {"texts": "a"}, {"texts": ["a"] * 201}],
    "onnx_inference": [{}, {"tensors": {"x": 1}}, {"model_url": FILE, "tensors": {}},
                       {"model_url": FILE, "tensors": []}],
    "custom_code": [{"requirements": "numpy"}, {"requirements": [""]}, {"source": ""},
                    {"source_url": "ftp://a.example"}, {"entrypoint": ""}, {"fuel": 0}],
}  # fmt: skip


def is_enforced(service: str, body: dict[str, Any]) -> bool:
    try:
        SERVICES[service].request.model_validate(body)
    except pydantic.ValidationError:
        return False
    return True


def is_in_schema(service: str, body: dict[str, Any]) -> bool:
    schema = SERVICES[service].build_schema()
    return bool(jsonschema.Draft202012Validator(schema).is_valid(body))


@pytest.mark.parametrize("service", SERVICES)
def test_the_schema_is_one(service: str) -> None:
    schema = SERVICES[service].build_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/{service}/schema")
    json.dumps(schema)


@pytest.mark.parametrize("service", SERVICES)
def test_good_and_bad_bodies(service: str) -> None:
    for body in GOOD[service]:
        assert is_enforced(service, body) and is_in_schema(service, body), body
    for body in BAD[service]:
        assert not is_enforced(service, body) and not is_in_schema(service, body), body


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 300), st.integers(2**31 - 1, 2**31),
    st.sampled_from([0.5, 1.5, -2.5]), st.text(max_size=4),
    st.sampled_from([FILE, "https://a.example/b", "16x16", "mp4", "h264", "cycles", "en"]),
    st.lists(st.text(max_size=3), max_size=3),
)  # fmt: skip


@settings(max_examples=150)
@pytest.mark.parametrize("service", SERVICES)
@given(data=st.data())
def test_schema_and_model_agree(service: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(GOOD[service]))
    names = sorted(SERVICES[service].request.model_fields)
    spoilt = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    body = {**good, **spoilt}
    assert is_enforced(service, body) == is_in_schema(service, body), body


@pytest.mark.parametrize("service", SERVICES)
def test_a_content_holds_the_request_and_no_more(service: str) -> None:
    kind = SERVICES[service]
    for body in GOOD[service]:
        request = kind.request.model_validate(body)
        content = kind.build_content("m", request)
        assert content["service"] == service and content["model"] == "m"
        assert set(content["params"]) <= kind.params
        assert not set(content["input"]) & kind.params
        assert "nobody" not in content["input"]
        assert kind.count_most_units(content, 60) >= 1
        assert kind.estimate_seconds(content, 60) >= 1
