import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from miner.sandbox.bounds import (
    OWN_PROCESSES,
    PREFIX,
    ProcessBounds,
    UnifiedBounds,
    make_bounds,
    sweep_groups,
)
from miner.sandbox.interface import MIB, Limits

LIMITS = Limits(memory_bytes=64 * MIB, disk_bytes=16 * MIB, processes=8)


def test_what_a_process_and_its_children_hold_is_summed() -> None:
    program = "import subprocess, sys; kept = b'x' * 30_000_000; subprocess.run(sys.argv[1:])"
    child = "import time; kept = b'x' * 20_000_000; print(1, flush=True); time.sleep(60)"
    line = [sys.executable, "-c", program, sys.executable, "-c", child]
    with subprocess.Popen(line, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        bounds = ProcessBounds(LIMITS)
        bounds.watch(process.pid)
        assert bounds.read_cpu_seconds() > 0
        assert 50_000_000 < bounds.read_peak_bytes() < 120_000_000
        os.killpg(process.pid, 9)


async def test_a_group_is_made_and_removed() -> None:
    bounds = make_bounds(LIMITS)
    assert all(group.is_dir() for group in bounds.groups)
    await bounds.close()
    assert not any(group.exists() for group in bounds.groups)


def test_a_group_of_version_2_gets_its_numbers(tmp_path: Path) -> None:
    bounds = UnifiedBounds(tmp_path, LIMITS)
    (group,) = bounds.groups
    # What is written counts beside what is held.
    assert (group / "memory.max").read_text() == str(80 * MIB)
    assert (group / "pids.max").read_text() == str(8 + OWN_PROCESSES)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\n")
    (group / "memory.events").write_text("max 3\noom 1\noom_kill 1\n")
    assert bounds.read_cpu_seconds() == 1.5
    assert bounds.is_memory_short()
    assert bounds.read_peak_bytes() == 0
    (group / "memory.peak").write_text("4096\n")
    assert bounds.read_peak_bytes() == 4096


async def test_groups_of_miners_that_are_gone_are_removed() -> None:
    bounds = make_bounds(LIMITS)
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    left = [group.with_name(f"{PREFIX}{ended.pid}-0") for group in bounds.groups]
    for group in left:
        group.mkdir()
    sweep_groups()
    assert not any(group.exists() for group in left)
    assert all(group.exists() for group in bounds.groups)
    await bounds.close()


def test_sums_are_taken_now_and_then() -> None:
    bounds = ProcessBounds(Limits(memory_bytes=1))
    assert not bounds.is_memory_short()
    bounds.watch(os.getpid())
    assert bounds.is_memory_short()
    begun = time.monotonic()
    for _ in range(1_000):
        bounds.read_cpu_seconds()
    assert time.monotonic() - begun < 30
