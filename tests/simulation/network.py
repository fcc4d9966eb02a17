"""A network that loses, delays, reorders, doubles and parts, all from one seed."""

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
        self._sides: dict[int, int] = {}

    def part(self, sides: dict[int, int]) -> None:
        """Let only nodes of the same side hear each other; an empty division heals."""
        self._sides = sides

    def compute_arrivals(self, sender: int, receiver: int, now: int) -> list[int]:
        """Return the times at which a message arrives, none for a lost one."""
        if self._sides.get(sender) != self._sides.get(receiver):
            return []
        random, weather = self._random, self.weather
        if random.random() < weather.loss:
            return []
        copies = 2 if random.random() < weather.doubling else 1
        return [now + random.randint(weather.shortest, weather.longest) for _ in range(copies)]
