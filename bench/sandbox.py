"""What the sandbox adds to a process: `true` bare and in the sandbox, in turns, start to end.

Usage: python -m bench.sandbox [--runs 50]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from miner.sandbox.interface import Command, Ending, Limits, Sandbox
from miner.sandbox.open import find_sandbox

TARGET_MILLISECONDS: Final = 100
"""Of the 250 that a miner may add to a job that runs in the sandbox; 150 are those of any job."""
WARM_UP: Final = 3
PROGRAM: Final = "true"


async def run_bare() -> float:
    """Return the seconds of a process without a sandbox."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(PROGRAM)
    await process.wait()
    return time.perf_counter() - begin


async def run_inside(sandbox: Sandbox, output: Path) -> tuple[float, Ending]:
    """Return the seconds of the same in the sandbox, its results taken out."""
    begin = time.perf_counter()
    ending = await sandbox.run(
        Command(arguments=(PROGRAM,)), Limits(), output, lambda line: None, asyncio.Event()
    )
    seconds = time.perf_counter() - begin
    assert ending.is_good, ending
    return seconds, ending


async def run(count: int) -> bool:
    """Print the figures; return whether they are within the target."""
    sandbox = await find_sandbox(allow_unsandboxed=False)
    bare: list[float] = []
    inside: list[float] = []
    with tempfile.TemporaryDirectory(prefix="aitbc-bench-") as name:
        for number in range(-WARM_UP, count):
            alone = await run_bare()
            kept, ending = await run_inside(sandbox, Path(name))
            if number >= 0:
                bare.append(alone)
                inside.append(kept)
    alone, kept = (statistics.median(times) * 1000 for times in (bare, inside))
    worst = statistics.quantiles(inside, n=20)[-1] * 1000
    added = kept - alone
    verdict = "ok" if added <= TARGET_MILLISECONDS else "TOO SLOW"
    print(f"bare process      {alone:6.1f} ms")
    print(f"in the sandbox    {kept:6.1f} ms, {kept / alone:.1f} × the bare process")
    print(f"                  {worst:6.1f} ms for the slowest twentieth; bounds by {ending.bounds}")
    print(f"the sandbox adds  {added:6.1f} ms (at most {TARGET_MILLISECONDS}): {verdict}")
    return added <= TARGET_MILLISECONDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    arguments = parser.parse_args()
    raise SystemExit(0 if asyncio.run(run(arguments.runs)) else 1)


if __name__ == "__main__":
    main()
