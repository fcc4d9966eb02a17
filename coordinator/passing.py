"""What is told once, to those who listen just then, and kept nowhere: progress and blocks.

A job's progress is in its row and a block in the chain, for whoever was away. In front of a
listener that does not keep up, later progress takes the place of earlier, and old blocks fall out.
"""

from collections.abc import Callable
from typing import Final

from coordinator.ports import FinalBlock
from coordinator.tables import JobRow
from coordinator.update_data import BlockCreated, JobUpdate, describe_block, describe_job

MAX_WAITING: Final = 256
"""Blocks, and likewise jobs, that wait for a listener."""


class Passing:
    """At most one listener: it is woken, and takes what there is."""

    def __init__(self) -> None:
        self._wake: Callable[[], None] | None = None
        self._jobs: dict[bytes, tuple[int, JobUpdate]] = {}
        self._blocks: list[BlockCreated] = []

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` whenever there is something; with None nothing is noted any more."""
        self._wake = wake
        self._jobs.clear()
        self._blocks.clear()

    def tell_progress(self, job: JobRow, now_ms: int) -> None:
        """Tell how far a job is, its phase being the same as before."""
        if self._wake is None:
            return
        self._jobs.pop(job.job_id, None)
        if len(self._jobs) < MAX_WAITING:
            self._jobs[job.job_id] = (job.account_id, describe_job(job, now_ms))
        self._wake()

    def tell_block(self, block: FinalBlock) -> None:
        """Tell of a block whose events the rows hold."""
        if self._wake is None:
            return
        self._blocks.append(describe_block(block))
        del self._blocks[:-MAX_WAITING]
        self._wake()

    def take(self) -> tuple[dict[bytes, tuple[int, JobUpdate]], list[BlockCreated]]:
        """Return what waits, progress by job with the job's account, and forget it."""
        taken = self._jobs, self._blocks
        self._jobs, self._blocks = {}, []
        return taken
