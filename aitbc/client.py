"""Decides how the two clients begin and end: where they connect, with which keys.

What they offer is the tree of aitbc/resources.py, blocking and awaited. `AITBCClient` is safe for
several threads.
"""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from aitbc.exchange import RetryPolicy, TransportSettings
from aitbc.resources import (
    Accounts,
    Chain,
    Explorer,
    Files,
    Jobs,
    Live,
    Marketplace,
    Miners,
    Receipts,
    Registry,
    Services,
    Webhooks,
)
from aitbc.signing import Signer
from aitbc.transport import AsyncTransport, SyncTransport
from aitbc.wallet import Wallet

DEFAULT_URL: Final = "http://127.0.0.1:8001"


class AITBCClient:
    """The blocking client.

    `base_url` is one address or those of several nodes, tried in turn; without it, and without
    `api_key`, the environment's AITBC_API_URL and AITBC_API_KEY are used. With a `wallet` it signs
    for its account by itself, with `chain_id` (hex) for that chain only. Times in seconds.
    """

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        *,
        wallet: Wallet | None = None,
        chain_id: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        transport = SyncTransport(
            _choose_urls(base_url), _choose_settings(api_key, timeout, retries)
        )
        signer = None if wallet is None else Signer(wallet, chain_id)
        self._transport = transport
        self.jobs = Jobs(transport, signer)
        self.receipts = Receipts(transport, signer)
        self.miners = Miners(transport, signer)
        self.marketplace = Marketplace(transport, signer)
        self.services = Services(transport, signer)
        self.registry = Registry(transport, signer)
        self.explorer = Explorer(transport, signer)
        self.chain = Chain(transport, signer)
        self.accounts = Accounts(transport, signer)
        self.files = Files(transport, signer)
        self.webhooks = Webhooks(transport, signer)
        self.live = Live(transport, signer)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncAITBCClient:
    """The client for asyncio; the same calls as `AITBCClient`, awaited."""

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        *,
        wallet: Wallet | None = None,
        chain_id: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        transport = AsyncTransport(
            _choose_urls(base_url), _choose_settings(api_key, timeout, retries)
        )
        signer = None if wallet is None else Signer(wallet, chain_id)
        self._transport = transport
        self.jobs = Jobs(transport, signer)
        self.receipts = Receipts(transport, signer)
        self.miners = Miners(transport, signer)
        self.marketplace = Marketplace(transport, signer)
        self.services = Services(transport, signer)
        self.registry = Registry(transport, signer)
        self.explorer = Explorer(transport, signer)
        self.chain = Chain(transport, signer)
        self.accounts = Accounts(transport, signer)
        self.files = Files(transport, signer)
        self.webhooks = Webhooks(transport, signer)
        self.live = Live(transport, signer)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _choose_urls(base_url: str | Sequence[str] | None) -> str | Sequence[str]:
    return base_url if base_url is not None else os.environ.get("AITBC_API_URL", DEFAULT_URL)


def _choose_settings(
    api_key: str | None, timeout: float, retries: RetryPolicy | None
) -> TransportSettings:
    key = api_key if api_key is not None else os.environ.get("AITBC_API_KEY")
    return TransportSettings(api_key=key, timeout=timeout, policy=retries or RetryPolicy())
