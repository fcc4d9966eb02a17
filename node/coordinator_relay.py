"""Carrying the coordinators' questions over the network: `coordinator.ports.Relay`."""

from coordinator.ports import Unreachable
from node.peer_messages import RelayRequest, encode_question
from node.peers import Peers
from p2p.interface import AskFailed


class CoordinatorRelay:
    """Asks the node whose key a coordinator's address is of, and nobody else."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def ask(self, coordinator: bytes, data: bytes, timeout: float) -> bytes:
        """Return what the coordinator of this address answers. Raises `Unreachable`."""
        question = encode_question(RelayRequest(data))
        reason = "no session with it"
        for number in self._peers.find_sessions(coordinator):
            try:
                return await self._peers.ask(number, question, timeout)
            except AskFailed as error:
                reason = str(error)
        raise Unreachable(reason)
