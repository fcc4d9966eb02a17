import pytest

from coordinator.catalogue import MODELS, SERVICES, find_service, pin_model


@pytest.mark.parametrize(
    ("job_type", "model", "runs_code", "service"),
    [
        (None, None, False, "llm_inference"),
        (None, "gpt2", False, "llm_inference"),
        (None, "tiny.en", False, "whisper_transcription"),
        (None, "all-minilm-l6-v2", False, "text_embedding"),
        ("ai-inference", None, True, "custom_code"),
        ("ai-inference", "smollm2-135m", False, "llm_inference"),
        ("blender_rendering", None, False, "blender_rendering"),
        ("image-classification", None, False, None),
        ("", None, False, None),
    ],
)
def test_what_a_type_and_a_model_come_to(
    job_type: str | None, model: str | None, runs_code: bool, service: str | None
) -> None:
    assert find_service(job_type, model, runs_code) == service


def test_a_name_is_pinned_or_stays_what_it_is() -> None:
    for name, model in MODELS.items():
        assert pin_model(name) == f"{name}@{model.sha256}"
        assert pin_model(pin_model(name)) == pin_model(name)
        assert model.service in SERVICES
    for name in ("llama3.2", "gpt2", "llama-7b", "SmolLM2-135M", "tiny"):
        assert pin_model(name) == name
