"""The fixed times of consensus: multiples of delta and genesis parameters (rules C13 to C16).

No time grows with failures: nodes that wait ever longer in different views stop meeting.
"""

from typing import Annotated

from msgspec import Meta, Struct

Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]


class Timing(Struct, frozen=True):
    """Times in milliseconds; `delta` bounds the delay of a message in a healthy network."""

    delta: Milliseconds = 250
    block_interval: Milliseconds = 500
    """Shortest time between two proposals."""
    heartbeat: Milliseconds = 10_000
    """Longest time without a block on an idle chain."""

    @property
    def leader_timeout(self) -> int:
        """From the moment a proposal is due until its absence is answered with nullify."""
        return 2 * self.delta

    @property
    def skip_timeout(self) -> int:
        """The leader timeout for an authority that was silent in its last turn."""
        return max(1, self.delta // 2)

    @property
    def view_timeout(self) -> int:
        """From the moment a proposal is due until the lack of a certificate is so answered."""
        return 3 * self.delta

    @property
    def finality_wait(self) -> int:
        """Longest wait of a leader for its parent to become final."""
        return 2 * self.delta

    @property
    def listening(self) -> int:
        """How long a started authority of several only listens: one full view."""
        return self.view_timeout

    @property
    def longest_listening(self) -> int:
        """How long a new authority of a new network waits for a view to pass."""
        return 4 * self.view_timeout

    @property
    def longest_wiped(self) -> int:
        """The same where the network has made a block: the authority may have been wiped."""
        return 40 * self.view_timeout
