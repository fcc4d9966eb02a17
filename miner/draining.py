"""Decides how a running miner is told to take no new jobs, and what it is said to wait for.

The miner is found by the lock of its spool: the kernel says which process holds it, so no file has
to be believed. It is told by a signal, and what it still has to do is what lies in the spool.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from miner.spool import SPOOL, find_owner, list_claims

DRAIN_SIGNAL: Final = signal.SIGUSR1
"""Has a miner take no new jobs, and end when it is idle."""
POLL_SECONDS: Final = 0.2


class DrainFailedError(Exception):
    """The miner cannot be told, or ended and left work; the sentence says why."""


class StillRunningError(Exception):
    """The miner has not ended in the time given; it goes on with what it has."""


def drain(data_folder: Path, seconds: float | None, report: Callable[[list[str]], None]) -> None:
    """Have the miner of a data folder end when it is idle, and wait for that. Blocking.

    `seconds`: how long to wait, None for as long as it takes. `report` is called with the ids of
    the jobs that run or whose results are owed, whenever they change. Raises `DrainFailedError` and
    `StillRunningError`.
    """
    spool = data_folder / SPOOL
    owner = _find_owner(spool)
    if owner is not None:
        _tell(spool, owner)
    end = None if seconds is None else time.monotonic() + seconds
    told: list[str] | None = None
    while owner is not None and _find_owner(spool) == owner:
        waiting = list_claims(spool)
        if waiting != told:
            told = waiting
            report(waiting)
        if end is not None and time.monotonic() >= end:
            raise StillRunningError(f"it still runs, and waits for {len(waiting)} jobs")
        time.sleep(POLL_SECONDS)
    left = list_claims(spool)
    if left:
        raise DrainFailedError(
            f"no miner runs with {data_folder}, and {len(left)} jobs rest in its spool: "
            f"{', '.join(left)}. Its next start takes them up"
        )


def _find_owner(spool: Path) -> int | None:
    try:
        return find_owner(spool)
    except FileNotFoundError:
        raise DrainFailedError(
            f"{spool.parent} is no miner's data folder: name the one of its `run` with --data"
        ) from None
    except PermissionError:
        raise DrainFailedError(f"{spool} is another user's") from None


def _tell(spool: Path, owner: int) -> None:
    if owner == 0:
        raise DrainFailedError("the miner runs where this command cannot see it: in a container")
    try:
        # Held from before the second look on, it means this very process, not a later one's id.
        process = os.pidfd_open(owner)
        try:
            if find_owner(spool) == owner:
                signal.pidfd_send_signal(process, DRAIN_SIGNAL)
        finally:
            os.close(process)
    except ProcessLookupError:
        pass  # it has ended just now
    except PermissionError:
        raise DrainFailedError(f"the miner, process {owner}, is another user's") from None
