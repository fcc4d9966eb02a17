"""The SDK: `from aitbc import AITBCClient, AsyncAITBCClient`.

Looked up when they are asked for, since the command, which needs no client to show its help, is
inside this package too. `__init__.pyi` tells the same to type checkers.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("AITBCClient", "AsyncAITBCClient"):
        return getattr(import_module("aitbc.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
