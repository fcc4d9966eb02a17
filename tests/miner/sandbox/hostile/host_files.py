"""Reads what is the host's: accounts, the miner's key, others' environments, root's home."""

import os
from pathlib import Path

from tests.miner.sandbox.hostile.attack import attempt, read_targets


def read(path: str) -> bytes:
    """Return the first bytes of a file."""
    with Path(path).open("rb") as file:
        return file.read(64)


def search(marker: bytes) -> str:
    """Look for a marker that the miner has in its environment, wherever that may be read."""
    for path in Path("/proc").glob("[0-9]*/*"):
        if path.name in ("environ", "cmdline", "mountinfo") and path.parent.name != str(
            os.getpid()
        ):
            try:
                text = path.read_bytes()
            except OSError:
                continue
            if marker in text:
                return str(path)
    raise OSError("nowhere")


def main() -> None:
    targets = read_targets()
    marker = targets["marker"].encode()
    attempt("shadow", read, "/etc/shadow")
    attempt("accounts", read, "/etc/passwd")
    attempt("key", read, targets["key"])
    attempt("key above", read, "../" * 16 + targets["key"])
    attempt("key through init", read, "/proc/1/root" + targets["key"])
    attempt("key through parent", read, f"/proc/{os.getppid()}/root" + targets["key"])
    attempt("home", os.listdir, "/root")
    attempt("var", os.listdir, "/var")
    attempt("kernel memory", read, "/proc/kcore")
    attempt("marker", search, marker)


main()
