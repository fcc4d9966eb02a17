"""Types into a terminal: the miner's, were it there, and one of its own, which no call may do."""

import fcntl
import os
import pty

from tests.miner.sandbox.hostile.attack import attempt

TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def main() -> None:
    attempt("terminal", os.open, "/dev/tty", os.O_RDWR)
    for descriptor in (0, 1, 2):
        attempt(f"type {descriptor}", fcntl.ioctl, descriptor, TIOCSTI, b"x")
    _, slave = pty.openpty()
    attempt("type at home", fcntl.ioctl, slave, TIOCSTI, b"x")
    attempt("console", fcntl.ioctl, slave, TIOCLINUX, b"\2")


main()
