"""`python -m tests.fuzz [--frames N] [--wire N] [--seed S]`: spoilt frames, repeatable by seed."""

import argparse
import asyncio
import logging
import tempfile
import time
from pathlib import Path

import structlog

from tests.e2e.devnets import running_devnet
from tests.fuzz.in_process import fuzz_cluster
from tests.fuzz.on_the_wire import LiveNode, fuzz_wire
from tests.p2p.networks import find_port


def main() -> None:
    """Run both; an exception is the failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--frames", type=int, default=1_000_000, help="into a node in this process")
    parser.add_argument("--wire", type=int, default=10_000, help="over libp2p to a live node")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.frames:
            begin = time.monotonic()
            run = fuzz_cluster(Path(folder) / "cluster", arguments.frames, arguments.seed)
            report = asyncio.run(run)
            print(f"in process: {report}, {time.monotonic() - begin:.0f} s", flush=True)
            assert report.grown < 64, "memory"
        if arguments.wire:
            begin, port = time.monotonic(), find_port()
            with running_devnet(Path(folder) / "net", port, "--miners", "0") as devnet:
                state = devnet.state
                (node,) = state["nodes"]
                chain_id = bytes.fromhex(state["chain_id"])
                live = LiveNode(node["api"], node["p2p"], node["pid"], chain_id)
                report = asyncio.run(fuzz_wire(live, arguments.wire, arguments.seed))
                print(f"on the wire: {report}, {time.monotonic() - begin:.0f} s", flush=True)
                # One block a heartbeat of ten seconds comes also without any work.
                assert report.heights >= (time.monotonic() - begin) // 10 - 2, "heights missed"
                assert report.grown < 64, "memory"


if __name__ == "__main__":
    main()
