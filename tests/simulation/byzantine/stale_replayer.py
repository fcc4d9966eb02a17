"""An authority that says again what anybody said long ago, in earlier views and epochs."""

from consensus.messages import Message
from tests.simulation.byzantine.dishonest import DishonestNode

_KEPT = 600


class StaleReplayer(DishonestNode):
    """Does its part, and repeats old messages of all authorities to random others."""

    def start(self) -> None:
        self._heard: list[Message] = []
        super().start()

    def receive(self, sender: int, message: Message | bytes) -> None:
        super().receive(sender, message)
        if isinstance(message, bytes):
            return
        if len(self._heard) < _KEPT:
            self._heard.append(message)
        elif self.random.random() < 0.1:
            self._heard[self.random.randrange(_KEPT)] = message
        if self.random.random() < 0.3:
            self.whisper(self.random.choice(self.get_others()), self.random.choice(self._heard))
