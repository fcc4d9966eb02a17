"""Decides which device an engine computes on: one setting, held against what is there.

`cuda:N` is the Nth of the GPUs that this process may use, or a refusal. `auto` is the first one,
for the engines whose build can use it, and else the CPU: either way the receipt says which it was.
An engine's process is shown the one GPU that is meant and no other, so that inside it is number 0.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from miner.gpu.hardware import Discovery, Gpu

SETTING: Final = re.compile(r"auto|cpu|cuda:(0|[1-9][0-9]?)", re.ASCII)
CUDA: Final = "cuda"
"""What an engine's process answers that computes on the GPU it was shown."""
GPU: Final = "GPU "
"""How a receipt's words for one begin."""


class DeviceMissingError(Exception):
    """A GPU is asked for that this machine, or this build of an engine, does not have."""


class Device(msgspec.Struct, frozen=True):
    """What the engines of a miner may compute on."""

    gpu: Gpu | None = None
    """The GPU that engines with a GPU path use; None for the CPU."""
    is_required: bool = False
    """An engine with a GPU path whose build cannot use the GPU is to refuse, not to go on."""

    @property
    def wanted(self) -> str:
        """What an engine's process is asked for: `cpu`, `auto` or `cuda`."""
        if self.gpu is None:
            return "cpu"
        return CUDA if self.is_required else "auto"

    @property
    def environment(self) -> Mapping[str, str]:
        """What an engine's process is given so that it finds this device and no other."""
        # CUDA's own order is by speed; NVML's, and ours, is by PCI address.
        visible = "" if self.gpu is None else self.gpu.uuid
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}

    def describe(self, active: str) -> str:
        """Return a receipt's words for what a process says it computes on: `cuda`, or its words."""
        if active != CUDA:
            return active
        assert self.gpu is not None
        return f"{GPU}{self.gpu.name}, driver {self.gpu.driver}"

    def get_uuid(self, active: str) -> str:
        """Return the GPU's UUID where a process says that it computes on it, else nothing."""
        return self.gpu.uuid if active == CUDA and self.gpu is not None else ""


CPU: Final = Device()


def choose_device(setting: str, discovery: Discovery) -> Device:
    """Return the device that a setting means. Raises `DeviceMissingError`."""
    if setting == "cpu":
        return CPU
    gpus = discovery.gpus
    if setting == "auto":
        return Device(gpus[0]) if gpus else CPU
    number = int(setting.partition(":")[2])
    if number < len(gpus):
        return Device(gpus[number], is_required=True)
    there = ", ".join(gpu.name for gpu in gpus) or "none"
    raise DeviceMissingError(
        f"device is {setting}, and of GPUs there is here: {there}. "
        + (discovery.problem or "nvidia-smi shows what the driver sees")
    )


def find_device(setting: str) -> Device:
    """Return the device that a setting means on this machine. Blocking.

    Raises `DeviceMissingError`.
    """
    if setting == "cpu":
        return CPU
    # Engines' processes import this module, and the driver's bindings take a fifth of a second.
    from miner.gpu.nvml import find_gpus  # noqa: PLC0415 - not before somebody asks for it

    return choose_device(setting, find_gpus())
