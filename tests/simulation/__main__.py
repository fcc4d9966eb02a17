"""`python -m tests.simulation`: many seeds over all cores; each repeats by its seed and commit."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.cluster import Cluster, Result
from tests.simulation.scenario import make_scenario
from tests.simulation.variant import Variant

_CHUNK = 20


@dataclass(frozen=True)
class Report:
    """What some seeds showed; `seconds` of processor time."""

    results: tuple[Result, ...]
    violations: tuple[tuple[int, str], ...]
    seconds: float


def run_seeds(seeds: range) -> Report:
    """Run seeds in this process."""
    began = time.process_time()
    results: list[Result] = []
    violations: list[tuple[int, str]] = []
    for seed in seeds:
        try:
            results.append(Cluster(make_scenario(seed), Variant()).run())
        except AssertionError as violation:
            violations.append((seed, str(violation)))
    return Report(tuple(results), tuple(violations), time.process_time() - began)


def describe_commit() -> str:
    """Return what is checked out: a seed repeats only with the same code."""
    git = shutil.which("git")
    if git is None:
        return "an unknown commit (no git)"
    command = [git, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "an unknown commit (no checkout)"


def main() -> int:
    """Run the seeds; return 1 if any violated a property."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=20_000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args()
    end = arguments.first + arguments.seeds
    chunks = [
        range(first, min(first + _CHUNK, end)) for first in range(arguments.first, end, _CHUNK)
    ]
    commit = describe_commit()
    print(f"seeds {arguments.first} to {end - 1} at {commit}", flush=True)
    reports: list[Report] = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for report in pool.map(run_seeds, chunks):
            reports.append(report)
            for seed, violation in report.violations:
                print(f"seed {seed}: {violation}")
                print(f"  repeat: python -m tests.simulation --seeds 1 --first {seed}", flush=True)
    _print_summary(reports, arguments.seeds)
    return 1 if any(report.violations for report in reports) else 0


def _print_summary(reports: list[Report], seeds: int) -> None:
    results = [result for report in reports for result in report.results]
    violations = sum(len(report.violations) for report in reports)
    rate = seeds / sum(report.seconds for report in reports)
    print(
        f"{seeds} runs, {violations} violations; {rate:.1f} runs/s on each core; "
        f"{sum(result.events for result in results)} events, "
        f"{sum(result.height for result in results)} final blocks, "
        f"{sum(result.crashes for result in results)} crashes, "
        f"{sum(result.refused for result in results)} messages refused, "
        f"{sum(result.convicted for result in results)} convicted, "
        f"slowest item {max((result.slowest for result in results), default=0)} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
