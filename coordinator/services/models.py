"""What a model's name resolves to: one pinned model of the published table, or itself.

A name is never replaced by another model.
"""

import re
from types import MappingProxyType
from typing import Final, NamedTuple

_PINNED: Final = re.compile(r"[^@]+@[0-9a-f]{64}", re.ASCII)


class Model(NamedTuple):
    """A pinned model: the service that runs it and the SHA-256 of its weights."""

    service: str
    sha256: str


MODELS: Final = MappingProxyType({
    "smollm2-135m": Model(
        "llm_inference", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
    "tiny.en": Model(
        "whisper_transcription",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    "all-minilm-l6-v2": Model(
        "text_embedding", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
    "tiny": Model(
        "stable_diffusion", "6d8af4def4177cf7dda9f9164063a6e7af934e905d0f2b5ca11904c21518fe32"
    ),
})  # fmt: skip


def pin_model(name: str) -> str:
    """Return `name@sha256` for a name of the table, any other name as it is."""
    model = MODELS.get(name)
    return name if model is None else f"{name}@{model.sha256}"


def pin_brought(name: str, sha256: str | None) -> str:
    """Return the pinned name of a model that comes with its job; `sha256` where it is known here.

    Raises `ValueError` for one without a hash, or with another.
    """
    if _PINNED.fullmatch(name) is None:
        if "@" in name or sha256 is None:
            raise ValueError("a model at an address is named name@sha256, by the hash of its bytes")
        return f"{name}@{sha256}"
    if sha256 is not None and name.partition("@")[2] != sha256:
        raise ValueError("the file has another sha256")
    return name


def get_model_name(model: str) -> str:
    """Return a model's name without its pin."""
    return model.partition("@")[0]
