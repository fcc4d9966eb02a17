"""Looks into other processes and ends them: its parent, the sandbox's first, one of the host's."""

import os
import signal
from pathlib import Path

from tests.miner.sandbox.hostile.attack import attempt, attempt_call, call, read_targets

PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE = 0, 16, 0x4206


def write_memory(process: int) -> int:
    with Path(f"/proc/{process}/mem").open("r+b", buffering=0) as memory:
        line = Path(f"/proc/{process}/maps").read_text().split("\n")[0]
        memory.seek(int(line.split("-")[0], 16))
        return len(memory.read(4))


def main() -> None:
    targets = read_targets()
    sibling = os.fork()
    if sibling == 0:
        signal.pause()
    for process in (1, os.getppid(), sibling, targets["victim"]):
        attempt_call("ptrace", PTRACE_ATTACH, process, 0, 0)
        attempt_call("ptrace", PTRACE_SEIZE, process, 0, 0)
        attempt_call("process_vm_readv", process, 0, 0, 0, 0, 0)
    attempt_call("ptrace", PTRACE_TRACEME, 0, 0, 0)
    attempt("memory", write_memory, targets["victim"])
    attempt("descriptors", lambda: call("pidfd_getfd", call("pidfd_open", sibling, 0), 1, 0))
    attempt("priority", os.setpriority, os.PRIO_PROCESS, 0, -20)
    attempt("first in line", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50))
    attempt("kill of the victim", os.kill, targets["victim"], signal.SIGKILL)
    attempt("kill of the group", os.killpg, targets["victim"], signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)  # of all that it may


main()
