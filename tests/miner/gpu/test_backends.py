"""What a library computes on is asked before and after, so that no CPU stands in for a GPU."""

import onnxruntime
import pytest

from miner.gpu.backends import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    check_onnx_session,
    choose_backend,
    choose_onnx_providers,
)
from miner.gpu.device import DeviceMissingError


def choose(wanted: str, *, can_use_gpu: bool) -> str:
    return choose_backend(wanted, can_use_gpu=can_use_gpu, engine="a library", remedy="build it")


def test_a_build_decides_only_where_it_may() -> None:
    assert choose("cpu", can_use_gpu=True) == "cpu"
    assert choose("auto", can_use_gpu=True) == "cuda"
    assert choose("auto", can_use_gpu=False) == "cpu"
    assert choose("cuda", can_use_gpu=True) == "cuda"
    with pytest.raises(DeviceMissingError, match="a library as installed .*: build it"):
        choose("cuda", can_use_gpu=False)


def test_onnx_runtime_as_installed_here_has_no_gpu_path() -> None:
    available = onnxruntime.get_available_providers()
    assert choose_onnx_providers("auto", available) == [CPU_PROVIDER]
    with pytest.raises(DeviceMissingError, match="onnxruntime-gpu"):
        choose_onnx_providers("cuda", available)


def test_onnx_runtime_with_a_gpu_path_is_asked_for_it_alone() -> None:
    available = [CUDA_PROVIDER, CPU_PROVIDER]
    assert choose_onnx_providers("auto", available) == [CUDA_PROVIDER]
    assert choose_onnx_providers("cpu", available) == [CPU_PROVIDER]


def test_a_session_that_fell_back_is_refused() -> None:
    assert check_onnx_session([CPU_PROVIDER], [CPU_PROVIDER]) == "cpu"
    assert check_onnx_session([CUDA_PROVIDER], [CUDA_PROVIDER, CPU_PROVIDER]) == "cuda"
    with pytest.raises(DeviceMissingError, match="could not use it"):
        check_onnx_session([CUDA_PROVIDER], [CPU_PROVIDER])
