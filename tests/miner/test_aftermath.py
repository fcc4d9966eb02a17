"""What an engine costs after the word to stop, seen by the kernel's own counts."""

import asyncio
import subprocess
import sys

from miner.aftermath import LONGEST_SECONDS, measure_aftermath, read_cpu_seconds

SPIN = """
import sys, time
print("up", flush=True)
end = time.process_time() + float(sys.argv[1])
while time.process_time() < end:
    pass
"""
NEST = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], "0.3"], stdout=subprocess.DEVNULL, check=True)
"""


def test_processes_below_processes_count_and_those_that_ended_too() -> None:
    before = read_cpu_seconds()
    subprocess.run([sys.executable, "-c", NEST, SPIN], check=True)
    assert 0.3 <= read_cpu_seconds() - before < 2


async def start(seconds: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SPIN, seconds, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    return process


async def test_what_is_computed_after_the_word_is_measured() -> None:
    stop = asyncio.Event()
    async with measure_aftermath(stop) as measured:
        process = await start("0.4")
        stop.set()
        await process.wait()
    assert measured.cpu is not None and measured.wall is not None
    assert 0.3 <= measured.cpu <= measured.wall + 0.1


async def test_an_engine_that_works_on_is_watched_for_a_while() -> None:
    stop = asyncio.Event()
    async with measure_aftermath(stop) as measured:
        process = await start("30")
        stop.set()
    assert measured.cpu is not None and measured.wall is not None
    assert measured.wall < 1, "the engine gave its result at once"
    assert 0 < measured.cpu <= LONGEST_SECONDS + 0.2
    process.kill()
    await process.wait()


async def test_without_a_stop_nothing_is_measured() -> None:
    async with measure_aftermath(asyncio.Event()) as measured:
        await asyncio.sleep(0)
    assert (measured.cpu, measured.wall) == (None, None)
