"""Decides which pipeline of diffusers draws, and what it is called: by the hash of all its files.

Its jobs are those of `miner/engines/image.py`, which reads them.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Final

from miner.engines.image import ImageEngine
from miner.engines.interface import EngineFailedError
from miner.gpu.device import Device
from miner.hashing import hash_file

RUNNER: Final = "miner.engines.diffusion_model"
PACKAGES: Final = ("diffusers", "torch", "transformers")
INDEX: Final = "model_index.json"
DATA: Final = frozenset({".json", ".txt", ".safetensors", ".model", ".md"})
"""Endings of files that hold data; anything else may hold a program."""
MAX_FILES: Final = 200
MAX_NAME: Final = 64


def open_pipeline(folder: Path, threads: int, device: Device) -> ImageEngine:
    """Return the engine of a pipeline's folder. Blocking. Raises `EngineFailedError`."""
    missing = next((name for name in PACKAGES if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise EngineFailedError(
            f"image_pipeline needs the package {missing}: pip install 'aitbc[diffusers]'"
        )
    identity = compute_identity(folder)
    return ImageEngine(identity, folder, threads, device, RUNNER)


def compute_identity(folder: Path) -> str:
    """Return `name@sha256` of a pipeline's folder: its name, and the hash of names and contents.

    Raises `EngineFailedError` for a folder that is no pipeline, or holds more than data.
    """
    if not (folder / INDEX).is_file():
        raise EngineFailedError(f"{folder} is no pipeline of diffusers: it has no {INDEX}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(paths) > MAX_FILES:
        raise EngineFailedError(f"{folder} holds more than {MAX_FILES} files")
    whole = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.suffix not in DATA:
            raise EngineFailedError(
                f"{name} in {folder} is not data: only safetensors and texts are"
            )
        whole.update(name.encode() + b"\x00" + bytes.fromhex(hash_file(path)))
    name = folder.resolve().name[:MAX_NAME].replace("@", "-")  # which parts a name from its hash
    return f"{name}@{whole.hexdigest()}"
