"""Every benchmark, one after the other, each in a process of its own: `python -m bench`."""

import subprocess
import sys

NAMES = (
    "ledger",
    "proof",
    "store",
    "snapshot",
    "transfers",
    "jobs",
    "posting",
    "api",
    "settlements",
    "live",
    "miner_overhead",
    "sandbox",
    "ray_pool",
    "explorer",
    "cluster",
)


def main() -> int:
    """Run all, also after one that failed; return how many did."""
    failed = 0
    for name in NAMES:
        print(f"\n== bench.{name}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
