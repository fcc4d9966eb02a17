"""Four real nodes under load and under faults: `make e2e`, or `python -m tests.e2e [CASE]...`.

Everything that needs a privilege happens in namespaces of this run alone: its network and its
mounts are gone with it. A case whose privilege is missing is named with it, and the run fails.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.cluster import (
    clock_cases,
    crash_cases,
    disk_cases,
    key_cases,
    member_cases,
    partition_cases,
)
from tests.e2e.cluster.cases import Case, Need, NotArranged, run_case
from tests.e2e.cluster.cluster import SPARE_PLACES, VALIDATORS, running_cluster
from tests.e2e.cluster.sites import Loopback, Site
from tests.e2e.network import Namespaces

INSIDE: Final = "--inside"
"""Given by this program to itself, once it is in namespaces of its own."""

ARRANGEMENTS: Final = 3
"""How often a case is tried that depends on what two nodes happen to do at once."""

PARAMETERS: Final = {"heartbeat_interval": 50_000}
"""Of the chain in namespaces: it rests while a node starts. A heartbeat would move it on."""

TOOLS: Final = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "ip": "iproute2",
}

LOCAL: Final = (
    Case("kill -9 one of four", crash_cases.kill_one),
    Case("kill -9 two of four", crash_cases.kill_two),
    Case("kill -9 all four", crash_cases.kill_all),
    Case("SIGSTOP one for 30 s", crash_cases.pause_one),
    Case("sign-state deleted, truncated, damaged, older", key_cases.spoil_journal),
    Case("wiped node", key_cases.wipe_one),
    Case("copied folder on the same host", key_cases.copy_on_this_host),
    Case("clock of one +1 h", clock_cases.clock_ahead),
    Case("clock of one -1 h", clock_cases.clock_behind),
    Case("disk of one full", disk_cases.fill_disk, Need.MOUNT),
    Case("authority added and removed", member_cases.change_authorities),
)
"""One after the other on one chain, on loopback."""

APART: Final = (
    Case("partition 2|2", partition_cases.part_halves, Need.NAMESPACES),
    Case("partition 3|1", partition_cases.part_one, Need.NAMESPACES),
    Case("one-way, towards all", partition_cases.mute_one, Need.NAMESPACES),
    Case("one-way, towards one", partition_cases.mute_towards_one, Need.NAMESPACES),
    Case("copied folder in hearing", partition_cases.copy_in_hearing, Need.NAMESPACES),
    Case(
        "copied folder across a partition",
        partition_cases.copy_across_partition,
        Need.NAMESPACES,
        offends=True,
    ),
)
"""One after the other on one chain, each node in a network namespace; the last ends a key."""


def find_obstacle() -> str | None:
    """Return why this process can make no namespaces of its own, None where it can."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"{tool} is missing: install {package}"
    probe = ["unshare", "--net", "--mount", "--propagation", "private", "true"]
    found = subprocess.run(probe, capture_output=True, text=True, check=False)
    return found.stderr.strip() or None


async def run_group(cases: Sequence[Case], data: Path) -> int:
    """Run cases on one chain, on a fresh one after a failure; return how many failed."""
    failed, tries = 0, ARRANGEMENTS
    waiting = list(cases)
    is_apart = any(case.need is Need.NAMESPACES for case in cases)
    parameters = PARAMETERS if is_apart else {}
    while waiting:
        folder = Path(tempfile.mkdtemp(prefix="chain-", dir=data))
        case = waiting[0]
        try:
            with make_site(is_apart=is_apart) as site:
                async with running_cluster(folder, site, **parameters) as cluster:
                    while waiting:
                        case = waiting.pop(0)
                        report = await run_case(cluster, case)
                        failed += not report.is_met
                        print(f"{'✔' if report.is_met else '✘'} {report.line}", flush=True)
        except NotArranged as error:
            tries -= 1
            print(f"· {case.name}: to be tried again: {error}", flush=True)
            if tries:
                waiting.insert(0, case)
            else:
                print(f"✘ {case.name}: not in {ARRANGEMENTS} tries", flush=True)
                failed += 1
        except Exception:  # noqa: BLE001 - whatever it is, the other cases are to run
            traceback.print_exc()
            print(f"✘ {case.name}: see above; data and logs in {folder}", flush=True)
            failed += 1
            waiting = [each for each in waiting if each is not case]
    return failed


@contextmanager
def make_site(*, is_apart: bool) -> Iterator[Site]:
    """Yield the network for a cluster."""
    places = VALIDATORS + SPARE_PLACES
    if is_apart:
        with closing(Namespaces(places)) as namespaces:
            yield namespaces
    else:
        yield Loopback(places)


def run(names: Sequence[str], data: Path, obstacle: str | None) -> int:
    """Run the cases; return the exit code."""
    begin, failed = time.monotonic(), 0
    for group in (LOCAL, APART):
        wanted = [case for case in group if not names or case.run.__name__ in names]
        for case in [case for case in wanted if obstacle and case.need]:
            assert case.need is not None
            print(f"✘ {case.name}: not run. It needs {case.need.value} ({obstacle})")
            wanted.remove(case)
            failed += 1
        failed += asyncio.run(run_group(wanted, data))
    print(f"{failed} failed; {time.monotonic() - begin:.0f} s, load {os.getloadavg()[0]:.1f}")
    return int(failed > 0)


def main() -> int:
    """Move into namespaces where that is possible, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__)
    known = [case.run.__name__ for case in (*LOCAL, *APART)]
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"all by default: {', '.join(known)}"
    )
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(known):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    obstacle = None if arguments.inside else find_obstacle()
    if obstacle is None and not arguments.inside:
        command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable]
        os.execvp(command[0], [*command, "-m", "tests.e2e", INSIDE, *sys.argv[1:]])
    if arguments.inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    data = Path(tempfile.mkdtemp(prefix="aitbc-e2e-"))
    code = run(arguments.cases, data, obstacle)
    if code == 0:
        shutil.rmtree(data)
    return code


if __name__ == "__main__":
    sys.exit(main())
