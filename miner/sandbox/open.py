"""Decides where a miner runs foreign bytes: in bubblewrap, as its operator says, or not at all."""

import asyncio
from functools import cache

import structlog

from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import Sandbox, SandboxMissingError
from miner.sandbox.plain import PlainProcess

log = structlog.get_logger(__name__)


@cache
def open_sandbox(*, allow_unsandboxed: bool) -> Sandbox:
    """Return what runs foreign bytes on this machine, seen to work.

    Raises `SandboxMissingError`, unless the operator allows a process without one.
    """
    try:
        return Bubblewrap.open()
    except SandboxMissingError as error:
        if not allow_unsandboxed:
            raise SandboxMissingError(
                f"{error}; or set allow_unsandboxed where only jobs of your own come"
            ) from None
        log.warning("foreign bytes run without a sandbox", reason=str(error))
        return PlainProcess()


async def find_sandbox(*, allow_unsandboxed: bool) -> Sandbox:
    """As `open_sandbox`, without holding up the event loop."""
    return await asyncio.to_thread(open_sandbox, allow_unsandboxed=allow_unsandboxed)
