"""When a proposal is due, and when its absence is answered (rules C13 to C15).

Timers start when work is known, not when a view is entered: an idle chain nullifies nobody.
"""

from consensus.timing import Timing


class Pacing:
    """The instants, in monotonic ms, from which one view's deadlines follow."""

    def __init__(self, timing: Timing, now: int, last_block_at: int) -> None:
        self.timing = timing
        self.entered_at = now
        self.last_block_at = last_block_at
        """When the newest notarized or final block was first heard of."""
        self.work_since: int | None = None
        self.hinted_at: int | None = None
        """When f + 1 authorities had nullified this view."""
        self.proposed_at: int | None = None
        """When this view's proposal arrived."""
        self.parent_final_at: int | None = now

    def enter(self, now: int) -> None:
        """Begin a view."""
        self.entered_at = now
        self.hinted_at = None
        self.proposed_at = None

    def on_work(self, now: int, is_pending: bool) -> None:
        """Keep since when work waits."""
        if not is_pending:
            self.work_since = None
        elif self.work_since is None:
            self.work_since = now

    def compute_due(self, *, is_parent_left: bool = False) -> int:
        """Return when the leader is expected to propose; often in the future.

        `is_parent_left` spares a leader the wait for a parent that cannot become final by itself;
        others do not count on its knowing that.
        """
        timing = self.timing
        work_at = self.last_block_at + timing.heartbeat
        for known_at in (self.work_since, self.hinted_at):
            if known_at is not None:
                work_at = min(work_at, known_at)
        ready_at = self.parent_final_at
        if ready_at is None:
            # A parent that does not become final by itself is work: a child finalizes it.
            work_at = min(work_at, self.entered_at)
            ready_at = self.entered_at + (0 if is_parent_left else timing.finality_wait)
        return max(self.entered_at, work_at, self.last_block_at + timing.block_interval, ready_at)

    def compute_leader_deadline(self, is_silent: bool) -> int:
        """Return when a view without a proposal is nullified."""
        timing = self.timing
        return self.compute_due() + (timing.skip_timeout if is_silent else timing.leader_timeout)

    def compute_view_deadline(self) -> int:
        """Return when a view without a certificate is nullified."""
        start = self.compute_due()
        if self.proposed_at is not None:
            start = max(self.entered_at, min(start, self.proposed_at))
        return start + self.timing.view_timeout


class Listening:
    """How long a started authority only listens, and which view is its first (rule C16)."""

    def __init__(self, timing: Timing, is_wiped: bool) -> None:
        self._timing = timing
        self._is_wiped = is_wiped
        self._since: int | None = None
        self._heard_view: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there is somebody to hear."""
        return self._since is not None

    def begin(self, now: int) -> None:
        """Count from here: before there is anybody to hear, silence says nothing."""
        if self._since is None:
            self._since = now

    def hear(self, now: int, view: int) -> None:
        """Remember the view that the network was in while listening."""
        if self._since is None or now < self._since + self._timing.listening:
            self._heard_view = max(view, self._heard_view or 0)

    def compute_end(self, view: int, final_height: int) -> int | None:
        """Return when listening ends for a node that is in `view`; `None` before it has begun.

        A new network has to start by itself. In one that has made a block, the view that a wiped
        authority may have voted in passes without it, unless more than f are faulty.
        """
        if self._since is None:
            return None
        heard = self._heard_view
        if self._is_wiped and heard is not None and view <= heard:
            timing = self._timing
            longest = timing.longest_wiped if final_height else timing.longest_listening
            return self._since + longest
        return self._since + self._timing.listening
