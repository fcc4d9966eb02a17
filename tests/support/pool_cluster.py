"""A cluster in this very process: nodes with processors and GPUs, whose engines can be lost.

Everything but Ray is as it is: the hosts, their engines' processes, the messages. What Ray itself
does is tried in `tests/miner/pools/test_ray_cluster.py`.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miner.pools.host import EngineHost
from miner.pools.members import HostLostError
from miner.pools.placement import Demand, Node


class LocalHost:
    """An engine's host that is called as it is."""

    def __init__(self, node: str, host: EngineHost) -> None:
        self.node = node
        self.calls: list[str] = []
        self._host = host
        self._lost = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the node is gone."""
        return self._lost.is_set()

    def lose(self) -> None:
        """Have the node vanish: calls under way and calls to come go unanswered."""
        self._lost.set()

    async def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """Return what one of its coroutines returns. Raises `HostLostError`."""
        self.calls.append(method)
        calling = asyncio.ensure_future(getattr(self._host, method)(*arguments))
        losing = asyncio.create_task(self._lost.wait())
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({calling, losing}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise HostLostError(f"no answer within {seconds:.0f} s") from None
        finally:
            losing.cancel()
            if self._lost.is_set() or not calling.done():
                calling.cancel()
            await asyncio.gather(calling, losing, return_exceptions=True)
        if self._lost.is_set():
            raise HostLostError(f"{self.node} is gone")
        return calling.result()

    async def kill(self) -> None:
        """End what it runs."""
        self._lost.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._host.close())
        # As with a real process: whoever asked may go, and it ends all the same.
        await asyncio.shield(self._ending)


class LocalCluster:
    """Nodes of this process, filled in turns."""

    def __init__(self, nodes: list[Node], folder: Path | None = None) -> None:
        self.hosts: list[LocalHost] = []
        self._folder = folder
        self._nodes = nodes

    async def list_nodes(self) -> list[Node]:
        """Return the nodes."""
        return self._nodes

    async def start(self, demand: Demand, settings: Mapping[str, Any]) -> LocalHost:
        """Make a host on the next node."""
        node = self._nodes[len(self.hosts) % len(self._nodes)]
        host = LocalHost(node.name, EngineHost(demand.kind, settings, self._folder))
        self.hosts.append(host)
        return host

    async def close(self) -> None:
        """Leave nothing behind."""
        for host in self.hosts:
            await host.kill()
