"""Decides how Ray is used: as a client from outside, with a token, one actor for each engine.

Ray is an extra and is imported when a pool is opened, not before. Its client's calls may block
while a connection is lost, so each is made in a thread; answers are waited for on the event loop.
"""

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from miner.pools.host import EngineHost
from miner.pools.members import HostLostError
from miner.pools.placement import Demand, Node

THREADS: Final = 16
MAX_ARGUMENT_BYTES: Final = 64 * 1024
"""Of what is sent with a call itself."""
MODE: Final = "RAY_AUTH_MODE"
INSTALL: Final = "a pool needs Ray: pip install 'aitbc[ray]'"

R = TypeVar("R")


class ClusterUnavailableError(Exception):
    """There is no way into the cluster, for a reason that the operator can mend."""


def check_access() -> None:
    """Choose Ray's token mode for this process. Raises `ClusterUnavailableError` without a token.

    A cluster without one runs the code of whoever reaches its ports.
    """
    chosen = os.environ.get(MODE, "token")
    if chosen != "token":
        raise ClusterUnavailableError(f"{MODE} is {chosen!r}; a pool is entered with a token only")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    if not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).is_file():
        raise ClusterUnavailableError(
            "there is no token for the cluster: set RAY_AUTH_TOKEN_PATH to a copy of the cluster's "
            "(`ray get-auth-token --generate` makes one)"
        )
    os.environ[MODE] = chosen


class RayCluster:
    """A connection to the cluster at `ray://HOST:PORT`; made again where it was lost for good."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ray-call")
        self._connecting = asyncio.Lock()
        self._ray: Any = None

    async def open(self) -> None:
        """Enter the cluster. Raises `ClusterUnavailableError`."""
        if importlib.util.find_spec("ray") is None:
            raise ClusterUnavailableError(INSTALL)
        check_access()
        if importlib.util.find_spec("grpc") is None:
            raise ClusterUnavailableError(INSTALL)
        self._ray = await self.in_thread(importlib.import_module, "ray")
        try:
            await self._connect()
        except HostLostError as error:
            raise ClusterUnavailableError(
                f"no way into {self._address} ({error}): its head must serve Ray's client on that "
                "port, run the same Ray and Python, and have the token of this machine"
            ) from None

    async def list_nodes(self) -> list[Node]:
        """Return the nodes that are up. Raises `HostLostError`."""
        nodes = await self._guard(self._ray.nodes)
        return [
            Node(
                node["NodeID"],
                float(node["Resources"].get("CPU", 0)),
                float(node["Resources"].get("GPU", 0)),
            )
            for node in nodes
            if node["Alive"]
        ]

    async def start(self, demand: Demand, settings: Mapping[str, Any]) -> "RayHost":
        """Start an actor for an engine; it may wait for room. Raises `HostLostError`."""
        async with self._connecting:
            if not await self.in_thread(self._ray.is_initialized):
                await self._connect()
        start = functools.partial(self._start, demand, dict(settings))
        return RayHost(self, await self._guard(start))

    async def close(self) -> None:
        """Leave; the actors of this connection end with it."""
        if self._ray is not None:
            await self.in_thread(self._ray.shutdown)
        self._threads.shutdown(wait=False)

    async def in_thread(self, call: Callable[..., R], *arguments: Any) -> R:
        """Return what a call that may block returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, call, *arguments)

    async def ask(self, actor: Any, method: str, arguments: tuple[Any, ...]) -> Any:
        """Return what an actor's coroutine returns. Raises `HostLostError`."""

        def submit() -> Any:
            sent = [self._send(argument) for argument in arguments]
            return getattr(actor, method).remote(*sent).future()

        future = await self._guard(submit)
        try:
            # Shielded: Ray would answer a cancelled future, which is an error in its own thread.
            answer = asyncio.wrap_future(future)
            answer.add_done_callback(_note)
            return await asyncio.shield(answer)
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise HostLostError(_describe(error)) from None

    async def kill(self, actor: Any) -> None:
        """End an actor's process; one that is gone already is no error."""
        with contextlib.suppress(HostLostError):
            await self._guard(self._ray.kill, actor)

    def _start(self, demand: Demand, settings: dict[str, Any]) -> Any:
        options = {
            "num_cpus": demand.cpus,
            "num_gpus": demand.gpus,
            # The pool starts another itself, and knows then that it is another.
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        actor_class = self._ray.remote(**options)(EngineHost)
        return actor_class.remote(demand.kind, settings)

    def _send(self, argument: Any) -> Any:
        """Return a call's argument; long bytes go ahead of it, as Ray's client wants them."""
        is_long = isinstance(argument, bytes) and len(argument) > MAX_ARGUMENT_BYTES
        return self._ray.put(argument) if is_long else argument

    async def _connect(self) -> None:
        def connect() -> None:
            self._ray.shutdown()
            # What it warns of, a lost connection above all, is told in the miner's own words.
            self._ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR)

        await self._guard(connect)

    async def _guard(self, call: Callable[..., R], *arguments: Any) -> R:
        try:
            return await self.in_thread(call, *arguments)
        except (self._ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
            raise HostLostError(_describe(error)) from None


class RayHost:
    """An engine's actor."""

    def __init__(self, cluster: RayCluster, actor: Any) -> None:
        self._cluster = cluster
        self._actor = actor

    async def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """Return what one of its coroutines returns. Raises `HostLostError`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._cluster.ask(self._actor, method, arguments)
        except TimeoutError:
            raise HostLostError(f"no answer within {seconds:.0f} s") from None

    async def kill(self) -> None:
        """End its process at once."""
        await self._cluster.kill(self._actor)


def _note(answer: asyncio.Future[Any]) -> None:
    """Look at an answer that perhaps nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()


def _describe(error: BaseException) -> str:
    """Return the sentence of an error of Ray's that says most: the last line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
