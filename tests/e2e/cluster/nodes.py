"""The nodes of a cluster under test: each a process of its own, as its operator would run it."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from aitbc.cli.devnet.processes import Child, start_child, stop_all
from aitbc.cli.devnet.supervisor import COMMAND
from aitbc.wallet import Wallet
from node import folder
from tests.e2e.cluster.sites import Site

START_SECONDS: Final = 120.0
"""Generous: the machine may be busy with other work."""

END_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
ANSWER_SECONDS: Final = 2.0

_ANSWER: Final = aiohttp.ClientTimeout(total=ANSWER_SECONDS)


class NodeDown(Exception):
    """A node did not answer: it is dead, paused, cut off or overloaded."""


class ClusterNode:
    """One node: its folder, and its process while it runs."""

    def __init__(
        self,
        name: str,
        data: Path,
        wallet: Wallet,
        site: Site,
        number: int,
        session: aiohttp.ClientSession,
    ) -> None:
        self.name = name
        self.data = data
        self.wallet = wallet
        self.log = data.with_name(f"{data.name}.log")
        self.place = site.get_place(number)
        self.url = f"http://{self.place.api_host}:{self.place.api_port}"
        self.peer_address = (
            f"/ip4/{self.place.p2p_host}/tcp/{self.place.p2p_port}"
            f"/p2p/{folder.get_peer_id(wallet.seed)}"
        )
        self.bootstrap: tuple[str, ...] = ()
        """Whom it dials, set before its start."""
        self._site = site
        self._number = number
        self._session = session
        self._child: Child | None = None
        self._is_paused = False

    @property
    def is_running(self) -> bool:
        """Whether its process is there and not paused."""
        return self._child is not None and self._child.is_running() and not self._is_paused

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start its process; `wait_answer` tells when it serves."""
        assert self._child is None or not self._child.is_running()
        place = self.place
        settings = {
            "AITBC_API_HOST": place.api_host,
            "AITBC_API_PORT": str(place.api_port),
            "AITBC_P2P_LISTEN": f"{place.p2p_host}:{place.p2p_port}",
            "AITBC_P2P_BOOTSTRAP": ",".join(self.bootstrap),
            **(environment or {}),
        }
        arguments = [*COMMAND, "node", "run", "--data", str(self.data)]
        wrapped = self._site.wrap(self._number, arguments)
        self._child = start_child(self.name, wrapped, self.log, settings)

    def kill(self) -> None:
        """End it by SIGKILL, as a power failure of its process alone would."""
        child = self._get_child()
        os.killpg(child.pid, signal.SIGKILL)
        child.process.wait()
        child.is_running()
        self._is_paused = False

    def pause(self) -> None:
        """Stop its process in the middle of whatever it does, by SIGSTOP."""
        os.killpg(self._get_child().pid, signal.SIGSTOP)
        self._is_paused = True

    def resume(self) -> None:
        """Let a paused process go on."""
        os.killpg(self._get_child().pid, signal.SIGCONT)
        self._is_paused = False

    async def stop(self) -> int:
        """End it as an operator does, by SIGTERM; return its exit code."""
        self._get_child().process.terminate()
        return await self.wait_end()

    async def wait_end(self, seconds: float = END_SECONDS) -> int:
        """Return the exit code once it has ended. Raises `TimeoutError`."""
        child = self._get_child()
        async with asyncio.timeout(seconds):
            while child.is_running():  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(POLL_SECONDS)
        code: int = child.process.returncode
        return code

    def end(self) -> None:
        """Leave nothing of it running, whatever its state."""
        if self._child is not None and self._child.is_running():
            if self._is_paused:
                self.resume()
            stop_all([[self._child]])

    def describe(self) -> str:
        """Return whether it runs, or how it ended, for people."""
        child = self._get_child()
        return "runs" if child.is_running() else child.describe_end()

    def read_log(self) -> list[str]:
        """Return what its last process wrote."""
        return self._get_child().read_log()

    async def wait_answer(self, seconds: float = START_SECONDS) -> float:
        """Return the moment at which it first answers. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.read_status()
                    return time.perf_counter()
                except NodeDown:
                    self._check_running()
                    await asyncio.sleep(POLL_SECONDS)

    async def read_status(self) -> dict[str, Any]:
        """Return where its chain stands. Raises `NodeDown`."""
        status: dict[str, Any] = await self.read("/v1/chain/status")
        return status

    async def read_height(self) -> int:
        """Return the height of its last final block. Raises `NodeDown`."""
        height: int = (await self.read_status())["height"]
        return height

    async def read(self, path: str) -> Any:
        """Return the JSON of an answer that must be 200. Raises `NodeDown`."""
        try:
            async with self._session.get(self.url + path, timeout=_ANSWER) as answer:
                assert answer.status == 200, f"{self.name} {path}: {await answer.text()}"
                return await answer.json()
        except (OSError, aiohttp.ClientError) as error:
            raise NodeDown(f"{self.name} {path}: {error!r}") from None

    async def submit(self, raw: bytes) -> str | None:
        """Submit a transaction; return its id when it was accepted, else None.

        Raises `NodeDown`: whether it was accepted then is not known.
        """
        url = f"{self.url}/v1/transactions"
        try:
            async with self._session.post(url, json=raw.hex(), timeout=_ANSWER) as answer:
                if answer.status != 202:
                    return None
                name: str = (await answer.json())["transaction_id"]
                return name
        except (OSError, aiohttp.ClientError) as error:
            raise NodeDown(f"{self.name}: {error!r}") from None

    def wipe(self) -> None:
        """Lose everything but the key: a new folder for the same chain."""
        document = (self.data / folder.GENESIS_FILE).read_bytes()
        shutil.rmtree(self.data)
        folder.create_folder(self.data, document, self.wallet.seed)

    def _get_child(self) -> Child:
        assert self._child is not None, f"{self.name} was never started"
        return self._child

    def _check_running(self) -> None:
        child = self._get_child()
        if not child.is_running():
            tail = "\n".join(child.read_log()[-6:])
            raise AssertionError(f"{child.describe_end()}:\n{tail}")
