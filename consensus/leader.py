"""Whose turn it is to propose, and which leaders are not waited for (rules C6 and C15)."""


def get_leader(view: int, size: int) -> int:
    """Return the index of the authority that may propose in a view: they take turns."""
    return view % size


class SilentLeaders:
    """The authorities that proposed nothing in their last turn that this node saw end."""

    def __init__(self) -> None:
        self._missed: dict[int, int] = {}

    def on_silence(self, leader: int, view: int) -> None:
        """Remember that a view was nullified without a proposal of its leader."""
        self._missed[leader] = max(view, self._missed.get(leader, 0))

    def on_proposal(self, leader: int, view: int) -> None:
        """Forget a leader's silence once it proposes again, even too late."""
        if view >= self._missed.get(leader, view + 1):
            del self._missed[leader]

    def is_silent(self, leader: int) -> bool:
        """Tell whether a leader gets the short timeout."""
        return leader in self._missed
