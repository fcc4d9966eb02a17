"""Writes 100 GB: into one file, into a file with holes, into each folder that it may write to."""

import os
import signal
from pathlib import Path

from tests.miner.sandbox.hostile.attack import attempt

BLOCK = b"\1" * 1024 * 1024


def write(path: str, blocks: int) -> int:
    with Path(path).open("wb", buffering=0) as sink:
        for _ in range(blocks):
            if sink.write(BLOCK) < len(BLOCK):
                raise OSError("no more room")
    return blocks


def write_many(folder: str) -> None:
    for number in range(12_000):
        write(f"{folder}/{number}", 8)


def main() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    attempt("one file", write, "large", 100_000)
    os.truncate("large", 0)
    attempt("a hole", os.truncate, "large", 100 * 1024**3)
    for folder in ("/work", "/tmp", "/dev/shm"):
        # The first takes what room there is; none is left for the others.
        attempt(folder, write_many, folder)
    total = sum(
        entry.stat().st_blocks * 512
        for folder in ("/work", "/tmp", "/dev/shm")
        for entry in os.scandir(folder)
    )
    print(total, flush=True)


main()
