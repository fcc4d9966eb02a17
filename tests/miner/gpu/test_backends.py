"""What a library computes on is asked before, so that no CPU stands in for a GPU."""

import pytest

from miner.gpu.backends import choose_backend
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
