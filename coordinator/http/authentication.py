"""Whose request it is: the key in a header, and the account and role that it stands for."""

from aiohttp import web

from coordinator.coordinator import Coordinator
from coordinator.http.problems import Problem
from coordinator.http.rate_limits import RateLimiter
from coordinator.http.routing import Bucket
from coordinator.principals import MAX_KEY_LENGTH, Principal, Role, find_issuer
from ledger.crypto import format_address


def read_key(request: web.BaseRequest) -> str:
    """Return the key of `X-Api-Key` or `Authorization: Bearer`, or an empty text."""
    key = request.headers.get("X-Api-Key", "")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not key and scheme.lower() == "bearer":
        key = token.strip()
    return key


async def authenticate(
    coordinator: Coordinator, limiter: RateLimiter, key: str, address: str | None
) -> Principal:
    """Return whose key it is. Raises `Problem` (401; 421 for another coordinator's key; 429).

    A failed attempt counts against the `address` that made it.
    """
    principal = None
    if key and len(key) <= MAX_KEY_LENGTH and key.isascii():
        principal = await coordinator.keys.find(key)
    if principal is not None:
        return principal
    await limiter.count(Bucket.PUBLIC, f"address:{address}")
    issuer = find_issuer(key)
    if issuer is not None and issuer != coordinator.address:
        raise Problem(
            421,
            "this key belongs to another coordinator",
            members={"coordinator": format_address(issuer)},
        )
    raise Problem(401, "a valid API key is needed", headers={"WWW-Authenticate": "Bearer"})


def check_role(principal: Principal, roles: frozenset[Role]) -> None:
    """Raise `Problem(403)` for a key of another role."""
    if principal.role not in roles:
        names = " or ".join(sorted(roles))
        raise Problem(403, f"this needs a key with the role {names}", "ROLE_NOT_ALLOWED")
