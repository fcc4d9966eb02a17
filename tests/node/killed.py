"""Child processes that are killed at a chosen moment, forked from a server that has our modules."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

# Loaded here so that a child begins its work at once.
from node import chain_store, folder, rekey, rollback, snapshot_restore  # noqa: F401
from node.settings import load_settings
from tests.ledger import world  # noqa: F401


def start_child(
    target: Callable[..., None], *arguments: Any
) -> tuple[ForkServerProcess, "Connection[Any, Any]"]:
    """Start `target(pipe, *arguments)` in a process; return when it is about to begin."""
    processes: ForkServerContext = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    ours, theirs = processes.Pipe()
    child = processes.Process(target=_announce, args=(target, theirs, *arguments))
    child.start()
    theirs.close()
    assert ours.recv() == "begins"
    return child, ours


def _announce(target: Callable[..., None], pipe: Any, *arguments: Any) -> None:
    pipe.send("begins")
    target(pipe, *arguments)


def change_key(pipe: Any, folder: Any) -> None:
    """Change the key of the database in a folder."""
    rekey.change_key(folder / "node.db", folder / "database.key")


def roll_back(pipe: Any, data: Any, public_key: bytes, height: int) -> None:
    """Take the chain in a node's folder back to a height."""
    settings, genesis = load_settings(data=data), folder.open_genesis(data)
    rollback.roll_back(settings, genesis, public_key, height)


def restore(pipe: Any, data: Any, snapshot: Any) -> None:
    """Restore a snapshot into a node's folder."""
    snapshot_restore.restore(load_settings(data=data), folder.open_genesis(data), snapshot)
