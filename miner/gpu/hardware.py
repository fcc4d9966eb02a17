"""What is said of a GPU: what it is, and what it does."""

from typing import NamedTuple

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """One GPU. Memory in bytes, 0 where the driver does not say."""

    uuid: str
    name: str
    memory: int
    capability: str
    """Compute capability, such as `9.0`; empty where the driver does not say."""
    driver: str
    has_energy_counter: bool


class Telemetry(msgspec.Struct, frozen=True):
    """What a GPU does just now; None where the driver does not say."""

    utilisation: int | None
    """Percent of the last fraction of a second in which it computed."""
    memory_used: int | None
    """Bytes, by every process of the machine."""
    power: int | None
    """Milliwatts."""
    temperature: int | None
    """Degrees Celsius."""


class Discovery(NamedTuple):
    """The GPUs that this process may use, and why there are no more of them."""

    gpus: tuple[Gpu, ...]
    problem: str = ""
