"""Noticing that one authority's key runs in two processes, before both sign (rules C11 and C16).

Two copies of a key are told apart by the random name of their processes. Whoever hears both asks
the earlier one for a sign of life and warns the later one; and whoever is warned by one more
authority than may be faulty says once more what it has voted, and stops. Where both have signed
already, unheard by each other, that is what convicts the key.
"""

import asyncio
from collections.abc import Callable

from consensus.effects import StopReason
from node.consensus_driver import ConsensusStopped
from node.peer_messages import PresenceRequest, encode_question
from node.peers import Peers
from p2p.interface import AskFailed, Session

ANSWER_SECONDS = 2.0
"""How long the earlier process has to show that it lives: a dead one's session may linger."""


class KeyWatch:
    """Owned by the event loop."""

    def __init__(self, peers: Peers, repeat_votes: Callable[[], None]) -> None:
        self._peers = peers
        self._repeat_votes = repeat_votes
        self._warned_by: set[bytes] = set()
        self._questions: set[asyncio.Task[None]] = set()

    def on_joined(self, session: Session) -> None:
        """Ask after an earlier process with a newcomer's key."""
        elder = self._peers.find_elder(session)
        if elder is not None and self._peers.is_authority(session):
            task = asyncio.create_task(self._ask(elder, session.number))
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)

    def take_notice(self, session: Session) -> None:
        """Count a warning. Raises `ConsensusStopped` when an honest authority is among them."""
        if self._peers.is_authority(session):
            self._warned_by.add(session.key)
        if len(self._warned_by) > self._peers.fault_bound:
            self._repeat_votes()
            detail = f"{len(self._warned_by)} authorities hear another process with it"
            raise ConsensusStopped(StopReason.OWN_KEY_ELSEWHERE, detail)

    async def _ask(self, elder: int, newcomer: int) -> None:
        try:
            await self._peers.ask(elder, encode_question(PresenceRequest()), ANSWER_SECONDS)
        except AskFailed:
            return
        self._peers.tell_of_copy(newcomer)
