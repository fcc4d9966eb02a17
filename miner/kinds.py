"""Decides what there is to know of each kind of job, and which kinds a miner runs.

With none named it runs what this machine has: text, and of the others those whose packages are
installed and whose models are on the disk, or that have the sandbox which they need. What runs
strangers' programs is run only where it is named.
"""

import importlib.util
from collections.abc import Mapping
from typing import Final, NamedTuple

from ledger.receipts import VerificationClass
from miner.engines import blender, code, embedding, image, onnx, speech, text, video
from miner.models import ModelMissingError, ModelStore
from miner.sandbox.interface import SandboxMissingError
from miner.sandbox.open import open_sandbox
from miner.settings import MinerSettings


class Kind(NamedTuple):
    """A kind of job."""

    unit_type: str
    verification: VerificationClass
    packages: tuple[str, ...]
    """What its engine imports,"""
    extra: str
    """and the extra of this package that brings those."""
    model: str = ""
    """Of the lock; empty where the engine needs none of it."""
    needs_sandbox: bool = False
    """Strangers' bytes meet its programs."""
    is_foreign: bool = False
    """It runs strangers' programs and scenes: only where an operator names it."""


KINDS: Final[Mapping[str, Kind]] = {
    text.SERVICE: Kind("token", "logit_gap", ("xllamacpp",), "miner", "smollm2-135m"),
    embedding.SERVICE: Kind(
        "token",
        "tolerance",
        ("numpy", "safetensors", "tokenizers"),
        "miner",
        "all-minilm-l6-v2",
    ),
    speech.SERVICE: Kind(
        "audio_second", "tolerance", ("faster_whisper",), "speech", "tiny.en", needs_sandbox=True
    ),
    image.SERVICE: Kind("image", "tolerance", ("numpy", "safetensors"), "miner", "tiny"),
    onnx.SERVICE: Kind("second", "tolerance", ("onnxruntime", "numpy"), "onnx", needs_sandbox=True),
    video.SERVICE: Kind("video_second", "exact", (video.PACKAGE,), "video", needs_sandbox=True),
    code.SERVICE: Kind(
        "second", "none", ("packaging", "wasmtime"), "code", needs_sandbox=True, is_foreign=True
    ),
    blender.SERVICE: Kind("frame", "exact", (), "miner", needs_sandbox=True, is_foreign=True),
}
USUAL: Final = tuple(name for name, kind in KINDS.items() if not kind.is_foreign)
"""Those that need no naming."""


class KindUnavailableError(Exception):
    """A kind that is to be run cannot be, for a reason that the operator can mend."""


def choose_kinds(settings: MinerSettings, store: ModelStore) -> tuple[str, ...]:
    """Return the kinds to run: those that the settings name, or what is here."""
    if settings.kinds is not None:
        return tuple(dict.fromkeys(settings.kinds))
    return tuple(name for name in USUAL if name == text.SERVICE or is_here(name, settings, store))


def is_here(name: str, settings: MinerSettings, store: ModelStore) -> bool:
    """Tell whether this machine has a kind's packages, and its model or its sandbox. Blocking."""
    if find_missing_package(name) is not None:
        return False
    kind = KINDS[name]
    try:
        if kind.needs_sandbox:
            open_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
        if kind.model:
            store.open(kind.model)
    except (SandboxMissingError, ModelMissingError):
        return False
    return True


def find_missing_package(name: str) -> str | None:
    """Return the first package that a kind's engine lacks."""
    packages = KINDS[name].packages
    return next((package for package in packages if not importlib.util.find_spec(package)), None)
