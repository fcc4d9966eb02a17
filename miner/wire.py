"""Decides how the miner sends and fetches what is no JSON: text that grows, and files.

Beside the SDK's client, to the same nodes with the same key; a node that does not serve is followed
by the next one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2

STEP_SECONDS: Final = 30.0
"""How long a single write or read may take."""
PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Of answers after which the same request may be taken."""


class Wire:
    """Requests to whichever of the nodes serves."""

    def __init__(self, urls: Sequence[str], api_key: str) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._index = 0
        self._client = httpx2.AsyncClient(
            headers={"X-Api-Key": api_key, "User-Agent": "aitbc-miner"}, timeout=STEP_SECONDS
        )

    @asynccontextmanager
    async def request(
        self, method: str, path: str, query: Mapping[str, str | int | None], **body: Any
    ) -> AsyncIterator[httpx2.Response]:
        """Give the response of one request, its body unread. Raises `httpx2.HTTPError`.

        `body`: httpx2's `content`, `files` or `headers`.
        """
        index = self._index
        params = {name: value for name, value in query.items() if value is not None}
        try:
            async with self._client.stream(
                method, self._urls[index] + path, params=params, **body
            ) as response:
                if response.status_code in (502, 503, 504):
                    self._turn(index)
                yield response
        except httpx2.HTTPError:
            self._turn(index)
            raise

    def _turn(self, index: int) -> None:
        if index == self._index:  # another request may have turned already
            self._index = (index + 1) % len(self._urls)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
