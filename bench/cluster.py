"""Four validators under load and under faults, beside neo-go's in the same run.

Each is four nodes on loopback that take one signed transfer of their money by an HTTP request, and
make a block each 500 ms where there is work. The peer's database is plain and it syncs no block to
the disk; ours is encrypted, and a transfer, a vote and a block are on the disk before anybody hears
of them. The rows of load come first, on a fresh network of the peer's and then of ours; then the
rows of faults likewise. About six minutes in all; on a machine with other work only the ratios
tell anything.

Usage: python -m bench.cluster [--rows throughput,visible,…] [--only ours|neo-go] [--validators 4]
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench import cluster_rows as rows
from bench.cluster_devnet import run_devnet
from bench.cluster_network import VALIDATORS, Network
from bench.neo_go import PeerMissingError, fetch, run_neo_go

INTERVAL_MS: Final = 500
LABEL_WIDTH: Final = 56
PEER_FOLDER: Final = Path.home() / ".cache" / "aitbc-bench"

Measure = Callable[[Network], Awaitable[rows.Figures]]
Start = Callable[[Path], AbstractAsyncContextManager[Network]]

LOAD: Final[dict[str, Measure]] = {
    "throughput": rows.measure_throughput,
    "visible": rows.measure_visible,
    "final": rows.measure_final_loop,
    "idle": rows.measure_idle,
    "disk": rows.measure_disk,
}
FAULTS: Final[dict[str, Measure]] = {
    "killed": rows.measure_killed,
    "restart": rows.measure_restart,
    "quorum": rows.measure_no_quorum,
}


class Row(NamedTuple):
    """A line of the table: a figure, how it is written, and what it must be."""

    figure: str
    label: str
    decimals: int
    bound: float | None = None
    is_ratio: bool = False
    """Whether the bound is on the ratio to the peer, which ours must reach."""


TABLE: Final = (
    Row("rate", "transfers/s, closed loop, next when accepted", 0, 1.2, is_ratio=True),
    Row("cpu_ms", "CPU-ms per transfer, all nodes together", 3, 0.7),
    Row("memory_mb", "memory of one node, MB", 0, 220),
    Row("loop_seconds", "  of the loop: seconds of sending", 1),
    Row("drain_seconds", "  … seconds until the last was final everywhere", 1),
    Row("largest_block", "  … transfers in the largest block", 0),
    Row("refused", "  … transfers refused and sent again", 0),
    Row("lost", "  … transfers accepted and in no block by then", 0, 0),
    Row("generator_ms", "  … CPU-ms of the generator per transfer", 3),
    Row("visible_p50", "submit to final on another node at 300/s, p50 s", 2, 0.35),
    Row("visible_p99", "submit to final on another node at 300/s, p99 s", 2, 0.7),
    Row("final_rate", "transfers/s, closed loop, next when final", 0),
    Row("idle_cores", "idle CPU of all nodes, cores", 3, 0.05),
    Row("disk_bytes", "bytes per transfer per node on disk", 0, 400),
    Row("disk_whole_bytes", "  … with the votes' journal, cut at 16 MiB", 0),
    Row("gap_mean", "1 of 4 killed: mean block gap, s", 2, 0.9),
    Row("gap_max", "1 of 4 killed: longest block gap, s", 2, 2.0),
    Row("rejoin", "it rejoins to tip, s from the start of its process", 2, 1.0),
    Row("rejoin_answers", "  … of them until it answers at all", 2),
    Row("restart", "all killed: next block, s from the start of processes", 2, 2.0),
    Row("restart_answers", "  … of them until a quorum answers", 2),
    Row("no_quorum", "25 s without quorum: next block, s from the start", 2, 2.0),
    Row("no_quorum_answers", "  … of them until a quorum answers", 2),
)


async def measure(start: Start, wanted: Mapping[str, Measure], figures: rows.Figures) -> None:
    """Add the figures of a fresh network. Raises `OSError` and `AssertionError`."""
    with tempfile.TemporaryDirectory() as data:
        async with start(Path(data)) as network:
            for each in wanted.values():
                figures |= await each(network)


async def run(names: Sequence[str], starts: Mapping[str, Start]) -> bool:
    """Measure the networks, print the table, and tell whether every row could be measured."""
    figures: dict[str, rows.Figures] = {"ours": {}, "neo-go": {}}
    is_whole = True
    for group in (LOAD, FAULTS):
        wanted = {name: each for name, each in group.items() if name in names}
        for whose, start in starts.items() if wanted else ():
            try:
                await measure(start, wanted, figures[whose])
            except (AssertionError, OSError):
                is_whole = False
                print(f"{whose}: a row of {', '.join(wanted)} failed, with those after it:")
                traceback.print_exc()
    print(f"{'':<{LABEL_WIDTH}}{'ours':>9}{'neo-go':>9}{'ratio':>8}  bound")
    for row in TABLE:
        ours, theirs = (figures[whose].get(row.figure) for whose in ("ours", "neo-go"))
        if ours is not None or theirs is not None:
            print(write_row(row, ours, theirs))
    return is_whole


def write_row(row: Row, ours: float | None, theirs: float | None) -> str:
    """Return a line of the table."""
    ratio = ours / theirs if ours is not None and theirs else None
    values = (
        "–" if value is None else f"{value:.{decimals}f}"
        for value, decimals in ((ours, row.decimals), (theirs, row.decimals), (ratio, 2))
    )
    text = row.label.ljust(LABEL_WIDTH) + "{:>9}{:>9}{:>8}".format(*values)
    if row.bound is None:
        return text
    bound = f">= {row.bound:g} x neo-go" if row.is_ratio else f"<= {row.bound:g}"
    measured = ratio if row.is_ratio else ours
    if measured is None:
        return f"{text}  {bound}"
    is_met = measured >= row.bound if row.is_ratio else measured <= row.bound
    return f"{text}  {bound}{'' if is_met else ', NOT MET'}"


def main() -> int:
    """Run from the command line; return 1 where a row could not be measured."""
    names = [*LOAD, *FAULTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(names), help=f"of {', '.join(names)}")
    parser.add_argument("--only", choices=("ours", "neo-go"), help="measure one of them")
    parser.add_argument("--validators", type=int, default=VALIDATORS)
    options = parser.parse_args()
    chosen = options.rows.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    peer = None
    if options.only != "ours":
        try:
            peer = fetch(PEER_FOLDER)
        except PeerMissingError as missing:
            print(f"THE PEER IS MISSING, only ours is measured: {missing}", file=sys.stderr)
    starts: dict[str, Start] = {}
    if peer is not None:
        starts["neo-go"] = partial(run_neo_go, peer, interval_ms=INTERVAL_MS)
    if options.only != "neo-go":
        starts["ours"] = partial(run_devnet, validators=options.validators)
    return 0 if uvloop.run(run(chosen, starts)) else 1


if __name__ == "__main__":
    sys.exit(main())
