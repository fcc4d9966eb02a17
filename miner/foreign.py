"""Decides how the kinds come up that read strangers' bytes in the sandbox, and which of them an
operator has to ask for by name: strangers' programs and scenes.
"""

import asyncio
from pathlib import Path
from typing import Final

from miner.engines import blender, code, onnx, speech, video
from miner.engines.interface import Engine
from miner.gpu.device import Device
from miner.sandbox.interface import SandboxMissingError
from miner.sandbox.open import find_sandbox, open_sandbox
from miner.sandbox.plain import PlainProcess
from miner.settings import MinerSettings

FOREIGN: Final = frozenset({code.SERVICE, blender.SERVICE})
"""Those that are to be named."""
SANDBOXED: Final = FOREIGN | {onnx.SERVICE, video.SERVICE}
"""Those that run in it whole."""
NEEDS_SANDBOX: Final = SANDBOXED | {speech.SERVICE}
"""Those, and what decodes in it what a model of ours then reads."""


def has_sandbox(settings: MinerSettings) -> bool:
    """Tell whether this machine has where they run. Blocking."""
    try:
        open_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
    except SandboxMissingError:
        return False
    return True


async def open_sandboxed_engine(name: str, settings: MinerSettings, device: Device) -> Engine:
    """Return the engine of a kind of `SANDBOXED`.

    Raises `SandboxMissingError` and `EngineFailedError`.
    """
    sandbox = await find_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
    match name:
        case code.SERVICE:
            return code.CodeEngine(sandbox, settings.code_environment, settings.threads)
        case onnx.SERVICE:
            return onnx.OnnxEngine(sandbox, settings.threads, device)
        case video.SERVICE:
            program = await asyncio.to_thread(video.find_program)
            return video.VideoEngine(program, sandbox, settings.threads, device)
        case _:
            environment = settings.blender_environment or blender.ENVIRONMENT
            return blender.BlenderEngine(sandbox, environment, settings.threads, device)


def build_sandboxed_reader(name: str, settings: MinerSettings) -> Engine | None:
    """Return an engine that only reads contents; None where it reads by what it finds here."""
    # It reads and never runs: what would run it is never asked.
    unused = PlainProcess()
    match name:
        case onnx.SERVICE:
            return onnx.OnnxEngine(unused, settings.threads)
        case video.SERVICE:
            return video.VideoEngine(Path(), unused, settings.threads)
        case _:
            return None
