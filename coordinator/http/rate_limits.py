"""How many requests a key or an address may make, and the headers that say so.

`RateLimit-Policy` and `RateLimit` follow the IETF draft on rate-limit header fields.
"""

import math
import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from coordinator.http.problems import Problem
from coordinator.http.routing import Bucket
from coordinator.settings import RateLimits


class RateLimiter:
    """Counts requests in memory; a restart forgives."""

    def __init__(self, settings: RateLimits, is_public_bounded: bool) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._is_enabled = settings.is_enabled
        self._items: dict[Bucket, tuple[tuple[str, RateLimitItem], ...]] = {
            Bucket.NORMAL: (
                ("minute", RateLimitItemPerMinute(settings.per_minute)),
                ("hour", RateLimitItemPerHour(settings.per_hour)),
            ),
            Bucket.POLLING: (("polling", RateLimitItemPerMinute(settings.polling_per_minute)),),
            Bucket.PUBLIC: (("public", RateLimitItemPerMinute(settings.public_per_minute)),)
            if is_public_bounded
            else (),
            Bucket.NONE: (),
        }

    async def count(self, bucket: Bucket, who: str) -> dict[str, str]:
        """Count one request and return its headers. Raises `Problem(429)`."""
        items = self._items[bucket]
        if not self._is_enabled or not items:
            return {}
        policy, state = [], []
        refused_for = 0
        for name, item in items:
            is_allowed = await self._limiter.hit(item, name, who)
            window = await self._limiter.get_window_stats(item, name, who)
            wait = max(1, math.ceil(window.reset_time - time.time()))
            policy.append(f'"{name}";q={item.amount};w={item.get_expiry()}')
            state.append(f'"{name}";r={max(0, window.remaining)};t={wait}')
            if not is_allowed:
                refused_for = max(refused_for, wait)
        headers = {"RateLimit-Policy": ", ".join(policy), "RateLimit": ", ".join(state)}
        if refused_for:
            raise Problem(
                429,
                f"too many requests; the next is welcome in {refused_for} s",
                headers={**headers, "Retry-After": str(refused_for)},
            )
        return headers
