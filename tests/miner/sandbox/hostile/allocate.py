"""Takes ten gigabytes, in one process or in many, each of which looks harmless."""

import os
import sys
import time


def take(size: int) -> None:
    try:
        kept = [b"\1" * (1024 * 1024) for _ in range(size)]
    except MemoryError:
        os._exit(9)
    print("held", len(kept), flush=True)
    time.sleep(60)


if sys.argv[1] == "one":
    take(10_000)
for _ in range(40):
    if os.fork() == 0:
        take(100)
time.sleep(60)
