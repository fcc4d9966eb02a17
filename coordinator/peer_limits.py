"""How much one peer may ask of a coordinator, and all of them together (rule H3).

A peer is the key of a node; what it asks costs us reading, sealing and writing. A restart forgives.
"""

from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from coordinator.relay_messages import PIECE_BYTES

QUESTIONS_PER_MINUTE: Final = 6_000
"""A hundred running jobs, with a report each second."""
CONTENT_PER_MINUTE: Final = 64 * PIECE_BYTES
"""Bytes of content, in whole pieces."""
MAX_AT_ONCE: Final = 32
"""Questions of all peers that are being answered."""
_KIB: Final = 1_024


class PeerLimits:
    """Counts in memory."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._questions = RateLimitItemPerMinute(QUESTIONS_PER_MINUTE)
        self._content = RateLimitItemPerMinute(CONTENT_PER_MINUTE // _KIB)
        self.running = 0

    async def may_ask(self, peer: bytes) -> bool:
        """Count a question; tell whether it is to be answered."""
        if self.running >= MAX_AT_ONCE:
            return False
        return await self._limiter.hit(self._questions, "questions", peer.hex())

    async def may_fetch(self, peer: bytes, size: int) -> bool:
        """Count so many bytes of content; tell whether they are to be sent."""
        cost = -(-size // _KIB)
        return await self._limiter.hit(self._content, "content", peer.hex(), cost=cost)
