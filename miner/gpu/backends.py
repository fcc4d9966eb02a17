"""Decides, inside an engine's process, whether its library computes on the GPU or the CPU.

Several libraries fall back to the CPU without a word. Here the build is asked before a model is
loaded, and the session after: what is answered is what ran.
"""

from collections.abc import Sequence
from typing import Final

from miner.gpu.device import CUDA, DeviceMissingError

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"


def choose_backend(wanted: str, *, can_use_gpu: bool, engine: str, remedy: str) -> str:
    """Return `cuda` or `cpu` for what is wanted: `cpu`, `auto` or `cuda`.

    `can_use_gpu`: the library, as built, sees the GPU. Raises `DeviceMissingError`.
    """
    if wanted == CUDA and not can_use_gpu:
        raise DeviceMissingError(
            f"a GPU is asked for, and {engine} as installed computes on the CPU alone: {remedy}"
        )
    return CUDA if wanted != "cpu" and can_use_gpu else "cpu"


def choose_onnx_providers(wanted: str, available: Sequence[str]) -> list[str]:
    """Return the one provider that an ONNX Runtime session is to have.

    `available` is `onnxruntime.get_available_providers()`. Raises `DeviceMissingError`.
    """
    backend = choose_backend(
        wanted,
        can_use_gpu=CUDA_PROVIDER in available,
        engine="onnxruntime",
        remedy="pip uninstall onnxruntime, then pip install onnxruntime-gpu",
    )
    return [CUDA_PROVIDER if backend == CUDA else CPU_PROVIDER]


def check_onnx_session(providers: Sequence[str], active: Sequence[str]) -> str:
    """Return what a session computes on, `cuda` or `cpu`.

    `active` is the session's `get_providers()`: where the GPU cannot be used, ONNX Runtime leaves
    it out without an error. Raises `DeviceMissingError`.
    """
    if CUDA_PROVIDER not in providers:
        return "cpu"
    if CUDA_PROVIDER not in active:
        raise DeviceMissingError(
            "onnxruntime has a GPU path and could not use it: CUDA and cuDNN of its release are "
            "needed, see https://onnxruntime.ai/docs/execution-providers"
        )
    return CUDA
