"""The first process of a run: takes its bounds on, makes its folders, and becomes bubblewrap.

Run as a script of its own, with nothing but the standard library. It works in mounts of its own,
which nobody else sees and which are gone with the run:

- The inputs are shown below `STAGE`, so that the run's user need not pass the folders above them.
- `ROOM` is memory with one size and one count of files for all that the run may write.

Started by root it then becomes the run's user. Any other user's miner does the same in a user
namespace of its own, where also only the run's processes count to their limit.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x4_0000
PR_SET_PDEATHSIG = 1
STAGE = "/tmp"
"""Covered by a mount of our own."""
ROOM = f"{STAGE}/room"
FOLDERS = ("work", "tmp", "shm")
"""Of the room, which the run sees as `/work`, `/tmp` and `/dev/shm`."""
LIBC = ctypes.CDLL(None, use_errno=True)


def check(answer: int, what: str) -> None:
    if answer:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    name = None if kind is None else kind.encode()
    answer = LIBC.mount(source.encode(), target.encode(), name, flags, options.encode() or None)
    check(answer, target)


def leave_namespaces(is_root: bool) -> None:
    """Take on mounts of our own and, where that needs it, a user namespace in which we are we."""
    user, group = os.geteuid(), os.getegid()
    check(LIBC.unshare(CLONE_NEWNS if is_root else CLONE_NEWNS | CLONE_NEWUSER), "unshare")
    if not is_root:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def make_stage(sources: list[str], user: int, room_bytes: int, room_files: int) -> None:
    """Show each source below `STAGE` by its number, beside the room."""
    # Opened before anything is covered; a path through the descriptor leads past that.
    opened = [os.open(source, os.O_PATH) for source in sources]
    mount("none", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for number, descriptor in enumerate(opened):
        source, target = f"/proc/self/fd/{descriptor}", f"{STAGE}/{number}"
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        mount(source, target, None, MS_BIND | MS_REC)
        os.close(descriptor)
    os.mkdir(ROOM)
    options = f"size={room_bytes},nr_inodes={room_files},mode=0755"
    mount("none", ROOM, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for name in FOLDERS:
        os.mkdir(f"{ROOM}/{name}", 0o700)
        os.chown(f"{ROOM}/{name}", user, -1)


def become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def check_modes(sources: list[str]) -> None:
    """Refuse an input that the run's user cannot read: the run would fail and not know why."""
    for number, source in enumerate(sources):
        path = f"{STAGE}/{number}"
        if not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK):
            raise PermissionError(f"others may not read {source}")


def place(descriptors: list[list[int]]) -> None:
    """Move each descriptor to where it is wanted, and leave none behind.

    The shell that gathers what the run leaves knows descriptors of one digit.
    """
    moved = [
        (fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, 16), wanted) for given, wanted in descriptors
    ]
    for given, _ in descriptors:
        os.close(given)
    for given, wanted in moved:
        os.dup2(given, wanted, inheritable=True)


def run(orders: dict[str, Any]) -> None:
    is_root = os.geteuid() == 0
    user = orders["user"] if is_root else os.geteuid()
    for group in orders["groups"]:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
    leave_namespaces(is_root)
    make_stage(orders["sources"], user, orders["room_bytes"], orders["room_files"])
    for name, value in orders["limits"].items():
        # Of its time a process hears a second before it is killed: by the signal of that name.
        hard = value + 1 if name == "RLIMIT_CPU" else value
        resource.setrlimit(getattr(resource, name), (value, hard))
    if is_root:
        become(user)
    check_modes(orders["sources"])
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != orders["parent"]:
        sys.exit("the miner is gone")
    place(orders["descriptors"])
    os.execve(orders["command"][0], orders["command"], {})


def main() -> None:
    with os.fdopen(int(sys.argv[1])) as file:
        orders = json.load(file)
    try:
        run(orders)
    except OSError as error:
        sys.exit(f"the sandbox was not made: {error}")


if __name__ == "__main__":
    main()
