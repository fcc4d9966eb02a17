"""Decides who keeps the text endpoint up: a llama.cpp process of ours, or an address of others."""

import asyncio
import secrets
from pathlib import Path
from typing import Final

import httpx2

from miner.engines.interface import EngineFailedError
from miner.engines.process import ChildProcess
from miner.engines.text import Endpoint
from miner.gpu.device import CPU, CUDA, GPU, Device

MODULE: Final = "miner.engines.text_server"


class LlamaProcess:
    """llama.cpp's server for one model, in a process that is started when first needed.

    `context` in tokens, for each of `slots` jobs at a time; `gpu_layers` None for all of them
    where the device is a GPU.
    """

    def __init__(
        self,
        model: Path,
        name: str,
        *,
        threads: int = 1,
        context: int = 2_048,
        slots: int = 1,
        gpu_layers: int | None = None,
        device: Device = CPU,
    ) -> None:
        self._settings = {
            "model": str(model),
            "alias": name,
            "threads": threads,
            "context": context,
            "slots": slots,
            "gpu_layers": gpu_layers,
            "device": device.wanted,
        }
        self._device = device
        self._turn = asyncio.Lock()
        self._child = ChildProcess("text", MODULE, threads, device.environment)
        self._endpoint: Endpoint | None = None

    @property
    def process_id(self) -> int | None:
        """Of the running process; it changes with each restart."""
        return self._child.process_id

    async def ensure(self) -> Endpoint:
        """Return the endpoint of the running process, starting one where none runs."""
        async with self._turn:
            if self._endpoint is None or not self._child.is_running:
                await self._child.stop()
                self._endpoint = await self._start()
            return self._endpoint

    async def on_failure(self) -> None:
        """End the process: its native state is unknown, and a start costs half a second."""
        async with self._turn:
            self._endpoint = None
            await self._child.stop()

    async def close(self) -> None:
        """End the process."""
        await self.on_failure()

    async def _start(self) -> Endpoint:
        key = secrets.token_hex(32)
        greeting = await self._child.start({**self._settings, "key": key})
        pins = {name: str(self._settings[name]) for name in ("threads", "context")}
        if greeting["gpu_layers"]:
            asked = self._settings["gpu_layers"]
            pins["gpu_layers"] = "all" if asked is None else str(asked)
        return Endpoint(
            url=greeting["url"],
            key=key,
            model=str(self._settings["alias"]),
            engine=greeting["build"],
            options=", ".join(f"{name.replace('_', ' ')} {pins[name]}" for name in pins),
            device=self._device.describe(greeting["device"]),
            pins=pins,
            is_llama=True,
            has_gpu=greeting["device"] == CUDA,
        )


class RemoteEndpoint:
    """An OpenAI-compatible server that somebody else runs, and that holds the model.

    `gpu`: what the operator says that it computes on; empty where that is no GPU.
    """

    def __init__(self, url: str, model: str, key: str = "", gpu: str = "") -> None:
        self._endpoint = Endpoint(
            url=url.rstrip("/").removesuffix("/v1"),
            key=key,
            model=model,
            engine="openai-compatible endpoint",
            options=model,
            device=f"{GPU}{gpu}, as the operator says" if gpu else "",
            has_gpu=bool(gpu),
        )
        self._client = httpx2.AsyncClient(timeout=10.0)
        self._is_known_up = False

    async def ensure(self) -> Endpoint:
        """Return the endpoint, after asking it once whether it serves the model."""
        if self._is_known_up:
            return self._endpoint
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        try:
            response = await self._client.get(self._endpoint.url + "/v1/models", headers=headers)
            served = {entry["id"] for entry in response.json()["data"]}
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineFailedError(f"the text endpoint does not answer: {error}") from error
        if self._endpoint.model not in served:
            raise EngineFailedError(f"the text endpoint does not serve {self._endpoint.model!r}")
        self._is_known_up = True
        return self._endpoint

    async def on_failure(self) -> None:
        """Ask again before the next job."""
        self._is_known_up = False

    async def close(self) -> None:
        """Close the connections; the server itself is not ours."""
        await self._client.aclose()
