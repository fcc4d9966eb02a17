"""Decides how a stranger's sound becomes samples: decoded in the sandbox, checked, and then read.

FFmpeg's decoders meet the stranger's bytes there and nowhere else; what comes out is numbers.
"""

import asyncio
from pathlib import Path
from typing import Final

from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.engines.sandboxed import check_bounds, check_signal, run_command
from miner.engines.sandboxed_python import Interpreter, Program, find_interpreter
from miner.sandbox.interface import MIB, Ending, Limits, Mount, Sandbox

PROGRAM: Final = Program(
    Path(__file__).parent / "speech_program" / "sound_decoder.py",
    ("av", "av.libs", "numpy", "numpy.libs"),
)
SOURCE: Final = "/input/sound"
SAMPLES: Final = "samples"
NOT_SOUND: Final = 3
"""The script's exit code for a file that is no sound."""
SAMPLE_BYTES: Final = 4
RATE: Final = 16_000
"""Samples a second."""
MAX_BYTES: Final = 3_600 * RATE * SAMPLE_BYTES
LIMITS: Final = Limits(
    memory_bytes=1_024 * MIB,
    cpu_seconds=600,
    wall_seconds=600.0,
    processes=64,
    disk_bytes=MAX_BYTES + MIB,
)


class SoundDecoder:
    """Takes the sound out of files."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._interpreter: Interpreter | None = None

    async def decode(self, source: Path, folder: Path, stop: asyncio.Event) -> Path | None:
        """Return a file of samples below `folder`, an empty one; None where it was stopped.

        Raises `InputInvalidError` and `EngineFailedError`.
        """
        if self._interpreter is None:
            self._interpreter = await find_interpreter(None)
        command = PROGRAM.build_command(
            self._interpreter, self._sandbox, SOURCE, inputs=(Mount(source, SOURCE),)
        )
        ending = await run_command(self._sandbox, command, LIMITS, folder, lambda _: None, stop)
        return None if ending.is_stopped else find_samples(ending, folder)


def find_samples(ending: Ending, folder: Path) -> Path:
    """Return the samples that a run left. Raises `InputInvalidError` and `EngineFailedError`."""
    check_bounds(ending, "the sound")
    if ending.exit_code == NOT_SOUND:
        raise InputInvalidError(ending.last_words[-300:] or "not sound")
    check_signal(ending, "the sound")
    if ending.exit_code:
        raise EngineFailedError(f"the sound's decoder does not run: {ending.last_words[-300:]}")
    path = folder / SAMPLES
    if path.is_symlink() or not path.is_file():
        raise EngineFailedError("the sound's decoder left no samples")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES + MIB or size % SAMPLE_BYTES:
        raise EngineFailedError("the sound's decoder left something else than samples")
    return path
