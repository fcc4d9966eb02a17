"""The scenarios, how often each has its power cut, and how one is recorded."""

from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Final

from tests.power.images import SCRATCH, check_whole
from tests.power.recording import Recording, record

SHARES: Final = {"authority": 12, "node": 4, "cluster": 2, "restart": 2, "rekey": 3, "operator": 2}
"""Of each 25 power cuts."""


def get_scenario(name: str) -> ModuleType:
    """Return the module with `run` and `check`."""
    return import_module(f"tests.power.scenarios.{name}")


@cache
def record_scenario(name: str, variant: str) -> Recording:
    """Return a recording of a scenario in a process of its own; one for each process that asks."""
    with TemporaryDirectory(dir=SCRATCH) as folder:
        recorded = Path(folder, "recorded").resolve()
        recorded.mkdir()
        arguments = ["-m", "tests.power.run_scenario", name, str(recorded), variant]
        recording = record(arguments, recorded)
        check_whole(recording)
    return recording


def share_out(first: int, count: int) -> dict[str, list[int]]:
    """Return the numbers of each scenario's power cuts, of `count` numbers from `first` on."""
    wheel = [name for name, share in SHARES.items() for _ in range(share)]
    shared: dict[str, list[int]] = {name: [] for name in SHARES}
    for number in range(first, first + count):
        shared[wheel[number % len(wheel)]].append(number)
    return shared
