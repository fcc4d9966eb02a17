import pytest

from coordinator.services.models import MODELS, pin_model
from coordinator.services.registry import SERVICES, find_service


@pytest.mark.parametrize(
    ("job_type", "model", "runs_code", "members", "expected"),
    [
        (None, None, False, (), "llm_inference"),
        (None, "gpt2", False, (), "llm_inference"),
        (None, "tiny.en", False, (), "whisper_transcription"),
        (None, "all-minilm-l6-v2", False, (), "text_embedding"),
        (None, None, False, ("texts",), "text_embedding"),
        ("ai-inference", None, False, ("audio_url",), "whisper_transcription"),
        ("ai-inference", None, False, ("audio_url", "texts"), "llm_inference"),
        ("ai-inference", None, True, ("audio_url",), "custom_code"),
        ("ai-inference", "smollm2-135m", False, (), "llm_inference"),
        ("blender_rendering", None, False, (), "blender_rendering"),
        ("image-classification", None, False, (), None),
        ("", None, False, (), None),
    ],
)
def test_what_type_model_and_input_come_to(
    job_type: str | None,
    model: str | None,
    runs_code: bool,
    members: tuple[str, ...],
    expected: str | None,
) -> None:
    service = find_service(job_type, model, runs_code, members)
    assert (service.service_id if service is not None else None) == expected


def test_a_name_is_pinned_or_stays_what_it_is() -> None:
    for name, model in MODELS.items():
        assert pin_model(name) == f"{name}@{model.sha256}"
        assert pin_model(pin_model(name)) == pin_model(name)
        assert model.service in SERVICES
    for name in ("llama3.2", "gpt2", "llama-7b", "SmolLM2-135M"):
        assert pin_model(name) == name


def test_each_service_names_members_that_it_has() -> None:
    told: set[str] = set()
    for service in SERVICES.values():
        members = set(service.request.model_fields)
        assert service.params | service.sources <= members
        assert not service.params & service.sources
        assert not told & service.telling
        told |= service.telling
        assert (
            service.default_model is None
            or service.default_model in MODELS
            or service.makes_files
            or service.brings_model
        )
