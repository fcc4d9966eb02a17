"""Become another program that the kernel ends when the process that started it is gone.

`python -m aitbc.cli.devnet.child PARENT PROGRAM [ARGUMENT]...`: the signal is set after the fork
and survives the exec, so it holds even when the devnet itself is killed with SIGKILL.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
_PARENT_GONE: Final = 1


def set_process_option(option: int, value: int) -> None:
    """Call prctl(2). Raises `OSError`."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl")


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    # SIGTERM, not SIGKILL: a node then closes its database and ends its own prover.
    set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(_PARENT_GONE)
    os.execvp(program, sys.argv[2:])


if __name__ == "__main__":
    main()
