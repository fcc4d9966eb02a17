"""A machine with GPUs, as far as the driver library goes: a small one in C in place of NVIDIA's.

pynvml loads `libnvidia-ml.so.1` by its name, so a process that is started with the folder in
LD_LIBRARY_PATH finds this one. It computes nothing.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "tests" / "miner" / "gpu" / "driver.c"
LARGE: Final = "GPU-aaaa-1|NVIDIA H100 80GB HBM3|81559|1|1|0"
SMALL: Final = "GPU-bbbb-2|Tesla T4|15360|0|1|0"
LOST: Final = "GPU-cccc-3|Broken|1024|0|0|0"
DIVIDED: Final = "GPU-dddd-4|NVIDIA A100|40960|1|1|1"


def build_driver(folder: Path) -> Path:
    """Compile the library; return the folder that it lies in."""
    library = folder / "libnvidia-ml.so.1"
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", library, SOURCE], check=True)
    return folder


def make_environment(folder: Path, *gpus: str, **variables: str) -> dict[str, str]:
    """Return the environment of a process that finds these GPUs."""
    others = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return {**others, "LD_LIBRARY_PATH": str(folder), "GPUS": "\n".join(gpus), **variables}


def run_beside(environment: dict[str, str], program: str) -> str:
    """Return what a Python program prints in that environment."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.stdout
