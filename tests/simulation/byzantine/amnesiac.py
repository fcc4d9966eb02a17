"""An authority that restarts without its journal and goes on voting at once."""

from consensus import inputs
from consensus.journal import encode_frame
from consensus.messages import Message
from consensus.restored import Restored
from consensus.sign_state import SignState
from tests.simulation.byzantine.dishonest import DishonestNode
from tests.simulation.world import CHAIN_ID


class Amnesiac(DishonestNode):
    """Forgets now and then all that it signed above its final head, and listens to nobody first."""

    def receive(self, sender: int, message: Message | bytes) -> None:
        super().receive(sender, message)
        if self.random.random() < 0.01:
            self._forget()

    def _forget(self) -> None:
        committee = self.get_committee()
        self.sign_state = SignState.create(CHAIN_ID, self.key, self.store.sequence)
        self.host.disk.replace(encode_frame(self.sign_state.compact(committee.epoch, 0)))
        restored = Restored(self._make_head())
        self.machine = self.code.machine(committee, self.key, self.timing, restored)
        self.tell(inputs.Started(self.now))
        self.machine._listening = None
        self._tell_work()
