"""Writes anywhere but to the folders that are its own."""

import os
from pathlib import Path

from tests.miner.sandbox.hostile.attack import attempt, read_targets


def main() -> None:
    targets = read_targets()
    for folder in ("/", "/usr", "/usr/bin", "/etc", "/dev", "/input", "/proc", "/sys", "/python"):
        attempt(folder, Path(folder, "escaped").write_text, "x")
    attempt("outside", Path(targets["outside"]).write_text, "x")
    attempt("input", Path("/input/file").write_text, "x")
    attempt("mode of the input", os.chmod, "/input/file", 0o777)
    attempt("core pattern", Path("/proc/sys/kernel/core_pattern").write_text, "|/bin/sh")
    attempt("more namespaces", Path("/proc/sys/user/max_user_namespaces").write_text, "9")
    attempt("less wary", Path(f"/proc/{os.getppid()}/oom_score_adj").write_text, "-1000")


main()
