"""`python -m tests.power --images N [--first S] [--keep FOLDER]`: power cuts beyond the gate's."""

import argparse
import sys
import time
from pathlib import Path

from tests.power.catalogue import get_scenario, record_scenario, share_out
from tests.power.images import cut_power


def main() -> int:
    """Cut the power so often; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.power")
    parser.add_argument("--images", type=int, default=2_500, help="how many power cuts")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--keep", type=Path, help="folder for images that something is wrong with")
    arguments = parser.parse_args()
    violations = 0
    spent = 0.0
    for name, numbers in share_out(arguments.first, arguments.images).items():
        recording = record_scenario(name, "whole")
        keep = arguments.keep / name if arguments.keep else None
        began = time.process_time()
        for violation in cut_power(recording, get_scenario(name).check, numbers, keep=keep):
            violations += 1
            print(
                f"{name}, cut {violation.number} after call {violation.position}: "
                f"{violation.reason}",
                flush=True,
            )
        seconds = time.process_time() - began
        spent += seconds
        print(
            f"{name}: {len(numbers)} images of {len(recording.operations)} calls; "
            f"{len(numbers) / seconds:.0f} images/s on one core",
            flush=True,
        )
    print(
        f"{arguments.images} images, {violations} violations; "
        f"{arguments.images / spent:.0f} images/s on one core"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
