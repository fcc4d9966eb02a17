"""Decides what the miner announces of itself, and whether the chain has to be told."""

import asyncio
from typing import Any, Final

import rfc8785
import structlog

from aitbc.errors import NotFoundError
from aitbc.models import Miner, Model
from aitbc.wallet import SignedTransaction
from ledger.transactions import MinerRegister, MinerUpdate
from miner.delivery import Channel

POLL_SECONDS: Final = 0.25
ACTIVE_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Registration:
    """One miner's announcement. `prices` and `bond` in base units."""

    def __init__(
        self,
        channel: Channel,
        *,
        capabilities: list[str],
        models: list[str],
        gpu_info: dict[str, str],
        prices: dict[str, int],
        bond: int,
    ) -> None:
        self._channel = channel
        self._bond = bond
        self._announced: dict[str, Any] = {
            "capabilities": capabilities,
            "gpu_info": gpu_info,
            "models": models,
            "prices": prices,
        }
        key = channel.identity.wallet.derive_encryption_key()
        self._encryption_key = bytes(key.public_key)

    async def ensure(self) -> None:
        """Return once the chain holds the miner as announced. Raises `AITBCError`."""
        miner_id = self._channel.identity.miner_id
        payload = self._choose_payload(await self._find())
        if payload is None:
            await self._register(None)
        else:
            await self._channel.sender.send(payload, self._register)
        deadline = asyncio.get_running_loop().time() + ACTIVE_SECONDS
        while self._choose_payload(await self._find()) is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{miner_id} is not registered after {ACTIVE_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        log.info("registered", miner=miner_id, **self._announced)

    async def _find(self) -> Model | None:
        try:
            return await self._channel.client.explorer.get_miner(self._channel.identity.miner_id)
        except NotFoundError:
            return None

    def _choose_payload(self, known: Model | None) -> MinerRegister | MinerUpdate | None:
        """Return what the chain lacks, or None when it holds what is announced."""
        miner_id = self._channel.identity.miner_id
        metadata = rfc8785.dumps(self._announced)
        if known is None or not known.get("is_active"):
            return MinerRegister(miner_id, self._encryption_key, metadata, self._bond)
        is_same = (
            known.get("encryption_key") == self._encryption_key.hex()
            and known.get("metadata") == self._announced
        )
        return None if is_same else MinerUpdate(miner_id, self._encryption_key, metadata, 0)

    async def _register(self, signed: SignedTransaction | None) -> Miner:
        body = {
            "miner_id": self._channel.identity.miner_id,
            **self._announced,
            "encryption_key": self._encryption_key.hex(),
            "bond_base": str(self._bond),
        }
        if signed is not None:
            body["transaction"] = signed.raw.hex()
        return await self._channel.client.miners.register(body)
