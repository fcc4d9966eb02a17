"""What the transport counts: everything that is dropped, refused, sent and received, by reason.

Labels are words of this program, never a peer's, so that nobody can grow the table.
"""

from collections import Counter

Snapshot = dict[str, dict[str, int]]


class Counters:
    """Sums by name and label."""

    def __init__(self) -> None:
        self._values: dict[str, Counter[str]] = {}

    def add(self, name: str, label: str, amount: int = 1) -> None:
        """Count."""
        values = self._values.get(name)
        if values is None:
            values = self._values.setdefault(name, Counter())
        values[label] += amount

    def get_snapshot(self) -> Snapshot:
        """Return all sums."""
        return {name: dict(values) for name, values in self._values.items()}


def merge(*snapshots: Snapshot) -> Snapshot:
    """Return the sums of several snapshots."""
    total = Counters()
    for snapshot in snapshots:
        for name, values in snapshot.items():
            for label, amount in values.items():
                total.add(name, label, amount)
    return total.get_snapshot()
