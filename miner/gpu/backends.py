"""Decides, inside an engine's process, whether its library computes on the GPU or the CPU.

Several libraries fall back to the CPU without a word. So the build is asked before a model is
loaded, and what is answered is what the model is loaded on: a failure there is a failure.
"""

from miner.gpu.device import CUDA, DeviceMissingError


def choose_backend(wanted: str, *, can_use_gpu: bool, engine: str, remedy: str) -> str:
    """Return `cuda` or `cpu` for what is wanted: `cpu`, `auto` or `cuda`.

    `can_use_gpu`: the library, as built, sees the GPU. Raises `DeviceMissingError`.
    """
    if wanted == CUDA and not can_use_gpu:
        raise DeviceMissingError(
            f"a GPU is asked for, and {engine} as installed computes on the CPU alone: {remedy}"
        )
    return CUDA if wanted != "cpu" and can_use_gpu else "cpu"
