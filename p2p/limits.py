"""Every limit of the transport, named, and the bucket that holds a peer to its rates.

Rules W5 to W9. Authorities are known and few, so theirs are larger. A peer over its rate is read
more slowly; it is never answered by growing memory.
"""

from typing import Final

from msgspec import Struct

from p2p.frames import CONTROL_HEAD_BYTES
from p2p.interface import (
    KIB,
    MAX_ANSWER_BYTES,
    MAX_FRAME_BYTES,
    MIB,
    Channel,
)

Lane = int
"""A stream of a session: a channel's number, or `CONTROL`."""

CONTROL: Final[Lane] = 3
LANES: Final[tuple[Lane, ...]] = (*Channel, CONTROL)
LANE_NAMES: Final = {**{int(lane): lane.name.lower() for lane in Channel}, CONTROL: "control"}

# Before a session stands.
MAX_UNPROVED_CONNECTIONS: Final = 64
MAX_UNPROVED_PER_HOST: Final = 16
MAX_UNPROVED_BYTES: Final = 16 * KIB
MAX_UNPROVED_READ: Final = 4 * KIB
HANDSHAKE_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 1.5
"""A kernel repeats a lost first packet after 1 s; a new attempt is quicker than its third try."""
ARRIVALS_PER_SECOND: Final = 50
"""Inbound connections that are served at all, with four times that at once: Noise takes 2 ms."""

# Sessions.
MAX_SESSIONS_PER_KEY: Final = 4
MAX_STREAMS: Final = 16
MAX_QUESTIONS: Final = 32
PING_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 5.0
STALL_SECONDS: Final = 10.0
"""Bytes that the peer does not take for so long end the session."""

# Dialling.
DIAL_SECONDS: Final = 0.5
REFUSED_DIAL_SECONDS: Final = 5.0
MAX_KNOWN_ADDRESSES: Final = 512

# Frames.
FRAME_OVERHEAD_BYTES: Final = 256
"""What a frame in a queue counts beside its bytes."""
LONG_FRAME_BYTES: Final = 64 * KIB
"""A longer frame is gathered only as far as the pool of its kind of peer has room."""
LONG_FRAME_SECONDS: Final = 30.0
AUTHORITY_POOL_BYTES: Final = 128 * MIB
OBSERVER_POOL_BYTES: Final = 32 * MIB

FRAME_LIMITS: Final[dict[Lane, int]] = {
    **{int(lane): limit for lane, limit in MAX_FRAME_BYTES.items()},
    CONTROL: MAX_ANSWER_BYTES + CONTROL_HEAD_BYTES,
}
WINDOWS: Final[dict[Lane, int]] = {
    Channel.VOTES: 256 * KIB,
    Channel.BLOCKS: MIB,
    Channel.TRANSACTIONS: MIB,
    CONTROL: MIB,
}
"""What a peer may send on a stream before it is read, at most."""
OUTGOING_BYTES: Final[dict[Lane, int]] = {
    Channel.VOTES: MIB,
    Channel.BLOCKS: 16 * MIB,
    Channel.TRANSACTIONS: 4 * MIB,
    CONTROL: 24 * MIB,
}
"""What waits to be sent on a stream, at most; a frame over it is dropped and counted."""
MAX_ANNOUNCEMENTS: Final = 256
"""Announcements that the node has not taken yet; a further one is dropped and counted."""


class Rate(Struct, frozen=True):
    """What a peer may send on a stream in a second, with twice that at once."""

    bytes: int
    frames: int


class PeerLimits(Struct, frozen=True):
    """What a kind of peer may do."""

    rates: dict[Lane, Rate]
    incoming_bytes: dict[Lane, int]
    """What was read and the node has not taken yet; over it the stream is not read."""
    pieces: int
    """Noise messages, yamux frames and lots of 8 KiB in a second, with twice that at once."""


AUTHORITY_LIMITS: Final = PeerLimits(
    rates={
        Channel.VOTES: Rate(4 * MIB, 10_000),
        Channel.BLOCKS: Rate(256 * MIB, 10_000),
        Channel.TRANSACTIONS: Rate(64 * MIB, 5_000),
        CONTROL: Rate(256 * MIB, 5_000),
    },
    incoming_bytes={
        Channel.VOTES: MIB,
        Channel.BLOCKS: 4 * MIB,
        Channel.TRANSACTIONS: 2 * MIB,
        CONTROL: 4 * MIB,
    },
    pieces=40_000,
)
OBSERVER_LIMITS: Final = PeerLimits(
    rates={
        Channel.VOTES: Rate(256 * KIB, 200),
        Channel.BLOCKS: Rate(16 * MIB, 200),
        Channel.TRANSACTIONS: Rate(4 * MIB, 200),
        CONTROL: Rate(64 * MIB, 500),
    },
    incoming_bytes={
        Channel.VOTES: 64 * KIB,
        Channel.BLOCKS: 256 * KIB,
        Channel.TRANSACTIONS: 256 * KIB,
        CONTROL: 256 * KIB,
    },
    pieces=8_000,
)


class TokenBucket:
    """A rate with a burst: what is taken beyond it has to be waited for."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, amount: float, now: float) -> float:
        """Take, and return the seconds to wait until that is paid for."""
        self._earn(now)
        self._tokens -= amount
        return max(0.0, -self._tokens / self._per_second)

    def try_take(self, amount: float, now: float) -> bool:
        """Take if there is enough, and tell whether there was."""
        self._earn(now)
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def _earn(self, now: float) -> None:
        earned = (now - self._updated) * self._per_second
        self._tokens = min(self._burst, self._tokens + earned)
        self._updated = now


class RateLimiter:
    """Holds one stream of one peer to its rate."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._bytes = TokenBucket(rate.bytes, 2 * rate.bytes, now)
        self._frames = TokenBucket(rate.frames, 2 * rate.frames, now)

    def take(self, frames: int, size: int, now: float) -> float:
        """Count what was read, and return the seconds for which to read no more."""
        return max(self._bytes.take(size, now), self._frames.take(frames, now))


def compute_cost(data: bytes) -> int:
    """Return what a frame counts in a queue, in bytes."""
    return len(data) + FRAME_OVERHEAD_BYTES
