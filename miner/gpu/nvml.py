"""Decides what GPUs this machine has and what they do, as NVIDIA's own driver library says.

No driver means no GPU. A driver that does not answer is a problem with a sentence: it stops only
what wants a GPU. The library stays open for the life of the process, since opening it may take a
second.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import pynvml

from miner.gpu.hardware import Discovery, Gpu, Telemetry

VISIBLE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
MAX_NAME: Final = 64
"""Characters of a GPU's name that are believed."""

T = TypeVar("T")


def find_gpus() -> Discovery:
    """Return the GPUs in the order of their PCI addresses; those that CUDA_VISIBLE_DEVICES names.

    Blocking: the first call may take a second.
    """
    try:
        pynvml.nvmlInit()
        driver = _make_plain(pynvml.nvmlSystemGetDriverVersion())
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return Discovery(())
        return Discovery((), f"NVIDIA's driver does not answer: {error}")
    found: list[Gpu] = []
    problem = ""
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if _is_divided(handle):
                # Memory and energy are the board's, and no part of it has as much.
                problem = f"GPU {index} of the driver is divided into parts (MIG): not supported"
                continue
            found.append(_read_gpu(handle, driver))
        except pynvml.NVMLError as error:
            problem = f"GPU {index} of the driver does not answer: {error}"
    return Discovery(select_visible(found, os.environ.get(VISIBLE_VARIABLE)), problem)


def select_visible(gpus: Sequence[Gpu], variable: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA would find under a value of CUDA_VISIBLE_DEVICES, in its order.

    Indices or beginnings of UUIDs; the list ends at the first entry that is none, as with CUDA. A
    part of a GPU (`MIG-…`) is none of ours.
    """
    if variable is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in variable.split(",")):
        if entry.isascii() and entry.isdigit():
            matches = [gpu for index, gpu in enumerate(gpus) if index == int(entry[:4])]
        else:
            matches = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return tuple(chosen)


def read_telemetry(uuid: str) -> Telemetry:
    """Return what a GPU that was found does now. Blocking."""

    def get_utilisation() -> int:
        return int(pynvml.nvmlDeviceGetUtilizationRates(_open(uuid)).gpu)

    def get_memory() -> int:
        return int(pynvml.nvmlDeviceGetMemoryInfo(_open(uuid)).used)

    def get_power() -> int:
        return int(pynvml.nvmlDeviceGetPowerUsage(_open(uuid)))

    def get_temperature() -> int:
        return int(pynvml.nvmlDeviceGetTemperature(_open(uuid), pynvml.NVML_TEMPERATURE_GPU))

    return Telemetry(
        _ask(get_utilisation), _ask(get_memory), _ask(get_power), _ask(get_temperature)
    )


def read_energy(uuid: str) -> int | None:
    """Return the millijoules since the driver was loaded; None without such a counter. Blocking."""
    return _ask(lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(_open(uuid))))


def _read_gpu(handle: object, driver: str) -> Gpu:
    capability = _ask(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        uuid=_make_plain(pynvml.nvmlDeviceGetUUID(handle)),
        name=_make_plain(pynvml.nvmlDeviceGetName(handle)),
        memory=_ask(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)) or 0,
        capability="{}.{}".format(*capability) if capability else "",
        driver=driver,
        has_energy_counter=_ask(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        is not None,
    )


def _is_divided(handle: object) -> bool:
    modes = _ask(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    return modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def _open(uuid: str) -> object:
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


def _ask(question: Callable[[], T]) -> T | None:
    """Return the answer, or None where this GPU or driver has none."""
    try:
        return question()
    except pynvml.NVMLError:
        return None


def _make_plain(text: str) -> str:
    """A receipt's texts are printable ASCII."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:MAX_NAME]
