"""`python -m tests.simulation --seeds N [--first S]`: many runs, each repeatable by its seed."""

import argparse
import sys
import time

from tests.simulation.cluster import Cluster
from tests.simulation.node import Variant
from tests.simulation.safety import Violation
from tests.simulation.scenario import make_scenario


def main() -> int:
    """Run the seeds; return 1 if any violated a property."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    violations = events = blocks = crashes = convicted = slowest = 0
    began = time.process_time()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            result = Cluster(make_scenario(seed), Variant()).run()
        except Violation as violation:
            violations += 1
            print(f"seed {seed}: {violation}", flush=True)
            continue
        events += result.events
        blocks += result.height
        crashes += result.crashes
        convicted += result.convicted
        slowest = max(slowest, result.slowest)
    spent = time.process_time() - began
    print(
        f"{arguments.seeds} runs, {violations} violations; {arguments.seeds / spent:.2f} runs/s "
        f"on one core; {events} events, {blocks} final blocks, {crashes} crashes, "
        f"{convicted} convicted, slowest item {slowest} ms"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
