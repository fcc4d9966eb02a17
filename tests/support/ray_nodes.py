"""A Ray cluster on this machine, in a process of its own: a head, and nodes that can be killed.

    python -m tests.support.ray_nodes PORT

serves Ray's client on the port and does what it reads, line by line: `fill` (have two nodes that
run engines) and `kill` (end the older of them without a word to anybody). Answers with `done`.
"""

import asyncio
import importlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aitbc.cli.devnet.ports import find_free_port

STORE_BYTES: Final = 80 * 1024 * 1024
NODES: Final = 2
START_SECONDS: Final = 100.0


class RayNodes:
    """The cluster, from the side of whoever runs it."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.address = f"ray://127.0.0.1:{port}"
        self._process = process

    async def do(self, command: str) -> None:
        """Return once a command is carried out."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        async with asyncio.timeout(START_SECONDS):
            while (line := await self._process.stdout.readline()) != b"done\n":
                assert line, "the cluster ended"


@asynccontextmanager
async def serve_ray_nodes() -> AsyncIterator[RayNodes]:
    """Give a cluster of two nodes and a head, and this process the token for it."""
    chosen = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.update(chosen)
    port = find_free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.ray_nodes",
        str(port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    nodes = RayNodes(port, process)
    try:
        await nodes.do("fill")
        yield nodes
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        for name in chosen:
            del os.environ[name]


def main() -> None:
    """Run the cluster until standard input ends."""
    cluster = importlib.import_module("ray.cluster_utils").Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "ray_client_server_port": int(sys.argv[1]),
        },
    )
    nodes: list[Any] = []
    for line in sys.stdin:
        if line == "kill\n":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        else:
            while len(nodes) < NODES:
                nodes.append(
                    cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES)
                )
            cluster.wait_for_nodes()
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
