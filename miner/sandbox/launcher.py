"""The first process of a run: takes its bounds on, drops what it may, and becomes bubblewrap.

Run as a script of its own, with nothing but the standard library: what it is to do comes as JSON in
its only argument, and no secret is in it. Started by root it shows bubblewrap the inputs by mounts
of its own, since the run's user may see no more of the host than those, and then becomes that user.
"""

import ctypes
import json
import os
import resource
import sys

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
STAGE = "/mnt"
"""Covered by a mount of our own, which nobody else sees."""


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    name = None if kind is None else kind.encode()
    if libc.mount(source.encode(), target.encode(), name, flags, None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def stage(sources: list[str]) -> dict[str, str]:
    """Show each source below `STAGE`; return where."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("none", STAGE, "tmpfs", 0)
    shown = {}
    for number, source in enumerate(sources):
        target = f"{STAGE}/{number}"
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        mount(source, target, None, MS_BIND | MS_REC)
        shown[source] = target
    return shown


def main() -> None:
    orders = json.loads(sys.argv[1])
    for entrance in orders["entrances"]:
        with open(entrance, "w") as file:
            file.write(str(os.getpid()))
    for name, value in orders["limits"].items():
        # Of its time a process hears a second before it is killed: by the signal of that name.
        hard = value + 1 if name == "RLIMIT_CPU" else value
        resource.setrlimit(getattr(resource, name), (value, hard))
    command = orders["command"]
    if orders["user"] is not None:
        shown = stage(orders["sources"])
        command = [shown.get(word, word) for word in command]
        os.setgroups([])
        os.setresgid(*(orders["user"],) * 3)
        os.setresuid(*(orders["user"],) * 3)
    # The shell that gathers what the run leaves knows descriptors of one digit.
    for given, wanted in orders["descriptors"]:
        os.dup2(given, wanted, inheritable=True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
