import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from aitbc.cli.devnet.processes import start_child, stop_all

T = TypeVar("T")

FAMILY = """
import os, subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
outer = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
)
print(os.getpid(), inner.pid, outer.pid, flush=True)
time.sleep(60)
"""

DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""

# A supervisor in a process of its own: it adopts orphans, which the test's own process must not.
SUPERVISOR = """
import sys, time
from pathlib import Path
from typing import TypeVar
from aitbc.cli.devnet.processes import adopt_orphans, end_adopted, start_child, stop_all
adopt_orphans()
child = start_child("family", [sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]))
sys.stdin.readline()
stop_all([[child]], 1.0)
end_adopted()
"""


def wait_for(find: Callable[[], T]) -> T:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.02)
    raise AssertionError("not in time")


def read_pids(log: Path) -> list[int]:
    return [int(pid) for pid in log.read_text().split()] if log.exists() else []


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not yet reaped by init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_ends_at_sigterm_with_its_group(tmp_path: Path) -> None:
    child = start_child("family", [sys.executable, "-c", FAMILY], tmp_path / "log")
    leader, inner, outer = wait_for(lambda: read_pids(tmp_path / "log"))
    assert leader == child.pid
    stop_all([[child]])
    assert wait_for(lambda: not is_alive(leader) and not is_alive(inner))
    assert child.describe_end() == "family was ended by SIGTERM"
    os.kill(outer, signal.SIGKILL)


def test_a_deaf_child_is_killed_after_its_time(tmp_path: Path) -> None:
    child = start_child("deaf", [sys.executable, "-c", DEAF], tmp_path / "log")
    wait_for(lambda: read_pids(tmp_path / "log"))
    begin = time.monotonic()
    stop_all([[child]], 0.3)
    assert 0.3 <= time.monotonic() - begin < 2
    assert child.describe_end() == "deaf was ended by SIGKILL"


def test_what_a_killed_child_leaves_in_its_group_is_ended(tmp_path: Path) -> None:
    child = start_child("family", [sys.executable, "-c", FAMILY], tmp_path / "log")
    leader, inner, outer = wait_for(lambda: read_pids(tmp_path / "log"))
    os.kill(leader, signal.SIGKILL)
    assert wait_for(lambda: not child.is_running())
    assert wait_for(lambda: not is_alive(inner))
    os.kill(outer, signal.SIGKILL)


def test_a_log_goes_on_and_each_child_reads_its_own_part(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from an earlier run\n")
    child = start_child("counter", [sys.executable, "-c", "print(1); print(2)"], log)
    wait_for(lambda: not child.is_running())
    assert child.describe_end() == "counter ended with exit code 0"
    assert child.read_log() == ["1", "2"]
    assert log.read_text() == "from an earlier run\n1\n2\n"


@pytest.mark.parametrize("is_killed", [False, True])
def test_nothing_outlives_the_supervisor(tmp_path: Path, is_killed: bool) -> None:
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, FAMILY, str(log)], stdin=subprocess.PIPE
    ) as supervisor:
        leader, inner, outer = wait_for(lambda: read_pids(log))
        if not is_killed:
            supervisor.communicate(b"\n", timeout=10)
            assert not any(map(is_alive, (leader, inner, outer)))
            return
        supervisor.kill()
    # The kernel ends the leader; what does not follow its own parent nobody can reach then.
    assert wait_for(lambda: not is_alive(leader))
    for orphan in (inner, outer):
        os.kill(orphan, signal.SIGKILL)
