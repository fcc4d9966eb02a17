"""One validator whose disk is full."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from node.exit_codes import ExitCode
from tests.e2e.cluster.checks import Violation
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.crash_cases import LEAD_SECONDS
from tests.e2e.cluster.figures import Figure, watched

DISK_BYTES: Final = 128 * 1024 * 1024
LEFT_BYTES: Final = 128 * 1024
"""What is left on the disk of a chain at work: a few blocks' worth."""

FULL_SECONDS: Final = 60.0
WITHOUT_SECONDS: Final = 5.0


async def fill_disk(cluster: Cluster) -> list[Figure]:
    """The disk of one fills up: it ends by itself, the others go on; with space it comes back."""
    node = cluster.nodes[3]
    await node.stop()
    small = cluster.path / f"{node.name}-small"
    small.mkdir()
    await asyncio.to_thread(_mount, small)
    usual, node.data = node.data, small / "data"
    shutil.move(usual, node.data)
    cluster.load.start()
    await cluster.start(3)
    await cluster.wait_rejoined(3)
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        begin = time.perf_counter()
        _fill(small)
        code = await node.wait_end(FULL_SECONDS)
        ended = time.perf_counter()
        await asyncio.sleep(WITHOUT_SECONDS)
        gaps = blocks.measure_gaps(begin, time.perf_counter())
    tail = node.read_log()[-6:]
    if code != ExitCode.UNEXPECTED or not tail[-1].startswith("aitbc node: "):
        text = "\n".join(tail)
        raise Violation(f"it ended with {code}, and not with one sentence that says why:\n{text}")
    (small / "filler").unlink()
    answered = await cluster.start(3)
    rejoined = await cluster.wait_rejoined(3)
    await node.stop()
    shutil.move(node.data, usual)
    node.data = usual
    await asyncio.to_thread(subprocess.run, ["umount", str(small)], check=True)
    await cluster.start(3)
    await cluster.wait_rejoined(3)
    return [
        *gaps,
        Figure("it ended after", ended - begin),
        Figure("with space again, at the tip after its API answered", rejoined - answered),
    ]


def _mount(folder: Path) -> None:
    """Put a small disk at a folder; whatever happens, it is gone with this run's namespace."""
    options = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def _fill(folder: Path) -> None:
    """Leave next to nothing free."""
    with (folder / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(folder).free - LEFT_BYTES))
