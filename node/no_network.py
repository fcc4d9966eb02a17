"""The network of a node that has none, by setting: nobody joins, and nobody answers."""

import asyncio
from collections.abc import Sequence

from p2p.interface import AskFailed, Channel, Event, PeerStatus


class NoNetwork:
    """`p2p.interface.Network` without a socket."""

    peer_id = ""
    addresses: tuple[str, ...] = ()

    async def start(self) -> None:
        """Do nothing."""

    async def next_event(self) -> Event:
        """Never return."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    def send(self, session: int, channel: Channel, data: bytes) -> bool:
        """Tell that there is no such session."""
        return False

    async def ask(self, session: int, data: bytes, timeout: float) -> bytes:
        """Raise `AskFailed`."""
        raise AskFailed("this node has no network")

    def answer(self, session: int, question: int, data: bytes | None) -> None:
        """Do nothing."""

    def announce(self, data: bytes) -> None:
        """Do nothing."""

    def disconnect(self, session: int, reason: str, ban_seconds: float = 0) -> None:
        """Do nothing."""

    def set_authorities(self, keys: frozenset[bytes]) -> None:
        """Do nothing."""

    def add_addresses(self, addresses: Sequence[str]) -> None:
        """Do nothing."""

    def get_peers(self) -> list[PeerStatus]:
        """Return nobody."""
        return []

    def get_counters(self) -> dict[str, dict[str, int]]:
        """Return nothing."""
        return {}

    async def close(self) -> None:
        """Do nothing."""
