"""Becomes somebody else: by programs that change the user, by its own copy of one, by asking."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from tests.miner.sandbox.hostile.attack import attempt


def run_as_owner(program: str) -> str:
    """Return who a program with a set-user-id bit runs as, unless that is the same as before."""
    done = subprocess.run([program, "-u"], capture_output=True, text=True, check=False)
    if done.stdout.strip() in ("", str(os.getuid())):
        raise OSError("the same user")
    return done.stdout


def make_program() -> str:
    shutil.copy("/usr/bin/id", "./id")
    os.chmod("./id", 0o4755)
    if not os.stat("./id").st_mode & stat.S_ISUID:
        raise OSError("no bit")
    return run_as_owner("./id")


def become_root() -> None:
    os.setuid(0)


def main() -> None:
    attempt("own program", make_program)
    attempt("root", become_root)
    attempt("owner", os.chown, "./id", 0, 0)
    attempt("groups", os.setgroups, [0])
    for name in ("su", "sudo", "mount", "newgrp", "passwd"):
        path = shutil.which(name)
        if path is not None and os.stat(path).st_mode & stat.S_ISUID:
            print(f"held: {name} is there", flush=True)
    # The sandbox's first process may be written to, so it must be able to do no more.
    for process in ("self", "1"):
        status = Path(f"/proc/{process}/status").read_text()
        for line in ("NoNewPrivs:\t1", "CapEff:\t0000000000000000", "Seccomp:\t2"):
            if line not in status:
                print(f"escaped: {process} has not {line!r}", flush=True)
    for descriptor in os.listdir("/proc/1/fd"):
        target = os.readlink(f"/proc/1/fd/{descriptor}")
        if not target.startswith(("pipe:", "anon_inode:", "/dev/null")):
            print(f"escaped: the first has {target}", flush=True)


main()
