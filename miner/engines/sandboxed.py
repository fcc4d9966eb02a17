"""Decides what a run in the sandbox comes to, whichever engine it is of.

The bounds are those of this software, not of a machine, so a run that meets one asked for more than
anybody gives: its client's fault, as is one that makes a program crash.
"""

import asyncio
from pathlib import Path
from typing import Final

from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.sandbox.interface import (
    Command,
    Ending,
    Limits,
    OnLine,
    Sandbox,
    SandboxFailedError,
)

LONGEST_SECONDS: Final = 24 * 3_600
"""Of one run; its lease ends sooner as a rule."""
SIGNALLED: Final = 128


async def run_command(
    sandbox: Sandbox,
    command: Command,
    limits: Limits,
    output: Path,
    on_line: OnLine,
    stop: asyncio.Event,
) -> Ending:
    """As `Sandbox.run`. Raises `EngineFailedError` where it did not come to a run."""
    try:
        return await sandbox.run(command, limits, output, on_line, stop)
    except SandboxFailedError as error:
        raise EngineFailedError(str(error)) from None


def check_bounds(ending: Ending, what: str) -> None:
    """Raise `InputInvalidError` for a run that a bound ended; `what` needed it."""
    if ending.limit is not None:
        raise InputInvalidError(f"{what} needs more {ending.limit} than a run may have")


def check_signal(ending: Ending, what: str) -> None:
    """Raise `InputInvalidError` for a run that a signal ended; `what` made it."""
    if ending.exit_code > SIGNALLED:
        number = ending.exit_code - SIGNALLED
        raise InputInvalidError(f"{what} ends the program that reads it: signal {number}")


def describe_sandbox(sandbox: Sandbox, ending: Ending) -> str:
    """Return what kept a run, as receipts say it."""
    return f"{sandbox.name}, {ending.bounds}"
