"""Decides how the kinds come up that an operator has to ask for by name: strangers' programs and
scenes, each in the sandbox.
"""

from typing import Final

from miner.engines import blender, code
from miner.engines.interface import Engine
from miner.gpu.device import Device
from miner.sandbox.open import find_sandbox
from miner.settings import MinerSettings

FOREIGN: Final = frozenset({code.SERVICE, blender.SERVICE})


async def open_foreign_engine(name: str, settings: MinerSettings, device: Device) -> Engine:
    """Return the engine of a kind of `FOREIGN`. Raises `SandboxMissingError`."""
    sandbox = await find_sandbox(allow_unsandboxed=settings.allow_unsandboxed)
    if name == code.SERVICE:
        return code.CodeEngine(sandbox, settings.code_environment, settings.threads)
    environment = settings.blender_environment or blender.ENVIRONMENT
    return blender.BlenderEngine(sandbox, environment, settings.threads, device)
