"""A network that loses, delays, reorders, doubles and parts, all from one seed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Weather:
    """What the network does to a message; times in ms, chances from 0 to 1."""

    shortest: int
    longest: int
    loss: float = 0.0
    doubling: float = 0.0


CALM = Weather(2, 40)


class SimulatedNetwork:
    """Decides when each copy of a message arrives."""

    def __init__(self, random: Random, weather: Weather) -> None:
        self._random = random
        self.weather = weather
        self._sides: Mapping[int, int] = {}
        self._cut: frozenset[tuple[int, int]] = frozenset()

    def part(self, sides: Mapping[int, int], cut: Iterable[tuple[int, int]] = ()) -> None:
        """Let only places of the same side hear each other, and `cut` (from, to) one way.

        Nothing of both heals the network.
        """
        self._sides, self._cut = sides, frozenset(cut)

    def is_open(self, sender: int, receiver: int) -> bool:
        """Tell whether one place is heard at another."""
        is_apart = self._sides.get(sender) != self._sides.get(receiver)
        return not is_apart and (sender, receiver) not in self._cut

    def compute_arrivals(self, sender: int, receiver: int, now: int) -> list[int]:
        """Return the times at which a message arrives, none for a lost one."""
        if not self.is_open(sender, receiver):
            return []
        random, weather = self._random, self.weather
        if random.random() < weather.loss:
            return []
        copies = 2 if random.random() < weather.doubling else 1
        return [now + random.randint(weather.shortest, weather.longest) for _ in range(copies)]
