"""Starting child processes and ending them, with everything that they started, in a known time.

Each child leads a process group of its own, and the kernel ends it when this process is gone
(`child`). This process adopts what its children leave behind, so that nothing outlives `stop_all`,
not even a grandchild that left its group.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from aitbc.cli.devnet.child import PR_SET_CHILD_SUBREAPER, set_process_option

STOP_SECONDS: Final = 4.0
"""What one stage of children gets between SIGTERM and SIGKILL."""

REAP_SECONDS: Final = 1.0
"""How long to wait for processes that were killed to be gone."""

_LOG_BYTES: Final = 65_536
_POLL_SECONDS: Final = 0.02


class Child:
    """A running child process with its log file."""

    def __init__(
        self, name: str, process: "subprocess.Popen[bytes]", log: Path, log_start: int
    ) -> None:
        self.name = name
        self.process = process
        self.log = log
        self._log_start = log_start
        self._is_group_ended = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        """Tell whether the child runs; what a dead one left in its group is ended here."""
        if self.process.poll() is None:
            return True
        if not self._is_group_ended:
            # Once only: the number may later belong to another group.
            self._is_group_ended = True
            _end_group(self.pid)
        return False

    def describe_end(self) -> str:
        """Return how the child ended, for people."""
        code = self.process.returncode
        if code < 0:
            return f"{self.name} was ended by {signal.Signals(-code).name}"
        return f"{self.name} ended with exit code {code}"

    def read_log(self) -> list[str]:
        """Return the lines that the child has written, the last of a long log alone."""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()


def adopt_orphans() -> None:
    """Make this process the parent of whatever its children leave behind (Linux)."""
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)


def start_child(
    name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a program in a group of its own; what it writes goes to the end of `log`."""
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "aitbc.cli.devnet.child", str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            process_group=0,
        )
    return Child(name, process, log, start)


def stop_all(stages: Sequence[Sequence[Child]], seconds: float = STOP_SECONDS) -> None:
    """End the children, one stage after the other, and their groups.

    Takes at most about `seconds` a stage: SIGTERM first, SIGKILL to the whole group at the end.
    """
    for stage in stages:
        for child in stage:
            if child.is_running():
                child.process.terminate()
        end = time.monotonic() + seconds
        while any(child.is_running() for child in stage) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        for child in stage:
            if child.is_running():
                os.killpg(child.pid, signal.SIGKILL)
                child.process.wait()
                child.is_running()


def end_adopted(seconds: float = REAP_SECONDS) -> None:
    """Kill and reap every child that this process still has: what left its group on the way."""
    end = time.monotonic() + seconds
    while (children := _read_children()) and time.monotonic() < end:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _end_group(group: int, seconds: float = REAP_SECONDS) -> None:
    """Kill the rest of a group whose leader has been reaped; reap what of it has become ours."""
    try:
        os.killpg(group, signal.SIGKILL)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:
                time.sleep(_POLL_SECONDS)
    except (ProcessLookupError, ChildProcessError):
        return


def _read_children() -> list[int]:
    listed = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return [int(child) for line in listed for child in line.split()]
