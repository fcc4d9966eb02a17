import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.matching import (
    Announcement,
    Requirements,
    find_mismatch,
    parse_memory,
    read_announcement,
)
from coordinator.services.models import pin_model

PINNED = pin_model("smollm2-135m")
NOTHING = Requirements()


@given(st.binary(max_size=300))
def test_no_metadata_can_do_harm(metadata: bytes) -> None:
    assert isinstance(read_announcement(metadata), Announcement)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
NAMES = st.sampled_from(["capabilities", "gpu_info", "models", "prices"])


@given(st.dictionaries(NAMES, JSON))
def test_no_document_can_do_harm(document: object) -> None:
    announced = read_announcement(json.dumps(document).encode())
    find_mismatch(announced, "llm_inference", PINNED, 5, Requirements("a", 1, 1))


@pytest.mark.parametrize(
    ("announced", "fits"),
    [
        ({"capabilities": ["llm_inference"]}, True),
        ({"capabilities": ["smollm2-135m"]}, True),
        ({"capabilities": ["llm_inference"], "models": [PINNED]}, True),
        ({"capabilities": ["llm_inference"], "models": ["smollm2-135m@" + "0" * 64]}, False),
        ({"capabilities": ["llm_inference"], "models": ["llama3.2"]}, False),
        ({"capabilities": ["text_embedding"]}, False),
        ({"capabilities": []}, False),
        ({"capabilities": ["llm_inference"], "prices": {"llm_inference": 5}}, True),
        ({"capabilities": ["llm_inference"], "prices": {"llm_inference": 6}}, False),
    ],
)
def test_service_model_and_price_must_fit(announced: object, fits: bool) -> None:
    announcement = read_announcement(json.dumps(announced).encode())
    mismatch = find_mismatch(announcement, "llm_inference", PINNED, 5, NOTHING)
    assert (mismatch is None) == fits


@pytest.mark.parametrize(
    ("announced", "fits"),
    [
        ({"capabilities": ["onnx_inference"]}, True),
        ({"capabilities": ["onnx_inference"], "models": ["ffmpeg", PINNED]}, True),
        ({"capabilities": ["onnx_inference"], "prices": {"onnx_inference": 6}}, False),
        ({"capabilities": ["video_transcoding"], "models": ["ffmpeg"]}, False),
    ],
)
def test_a_model_that_comes_with_its_job_is_nobodys_to_hold(announced: object, fits: bool) -> None:
    announcement = read_announcement(json.dumps(announced).encode())
    brought = "classifier@" + "0a" * 32
    assert (find_mismatch(announcement, "onnx_inference", brought, 5, NOTHING) is None) == fits


def test_hardware_must_fit() -> None:
    gpu = {"name": "NVIDIA V100-SXM2", "memory": "32GB", "count": 2}
    announcement = read_announcement(
        json.dumps({"capabilities": ["llm_inference"], "gpu_info": gpu}).encode()
    )

    def fits(requirements: Requirements) -> bool:
        return find_mismatch(announcement, "llm_inference", PINNED, 5, requirements) is None

    assert fits(Requirements("v100", 2, 32 * 10**9))
    assert not fits(Requirements("a100", 0, 0))
    assert not fits(Requirements(None, 3, 0))
    assert not fits(Requirements(None, 0, 33 * 10**9))


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GB", 24 * 10**9), ("4Gi", 4 * 2**30), ("16 GiB", 16 * 2**30), ("1.5k", 1500), ("7", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e3", "1PB", "١GB", "9" * 30, "1.GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_memory(text)
