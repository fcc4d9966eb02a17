"""Names of models: which are pinned, by what, and which are refused."""

import pytest

from coordinator.services.models import get_model_name, pin_brought

HASH = "0a" * 32
OTHER = "0b" * 32


@pytest.mark.parametrize(
    ("name", "known", "pinned"),
    [
        ("onnx", HASH, f"onnx@{HASH}"),
        (f"onnx@{HASH}", HASH, f"onnx@{HASH}"),
        (f"my net@{HASH}", None, f"my net@{HASH}"),
    ],
)
def test_a_model_that_comes_with_its_job_has_the_hash_of_its_bytes(
    name: str, known: str | None, pinned: str
) -> None:
    assert pin_brought(name, known) == pinned
    assert get_model_name(pinned) == name.partition("@")[0]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("onnx", None),
        (f"onnx@{OTHER}", HASH),
        ("onnx@", HASH),
        (f"onnx@{HASH.upper()}", HASH.upper()),
        (f"@{HASH}", HASH),
        (f"a@b@{HASH}", HASH),
        (f"onnx@{HASH}\n", HASH),
    ],
)
def test_without_one_or_with_another_it_is_refused(name: str, known: str | None) -> None:
    with pytest.raises(ValueError, match="sha256"):
        pin_brought(name, known)
