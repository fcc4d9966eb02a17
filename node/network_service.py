"""What comes from the network, handed to whom it is for; the one reader of its events.

Whatever a peer sends, the worst that follows is the end of its session.
"""

import structlog

from ledger.rejection import Rejected
from node.consensus_driver import ConsensusDriver
from node.exit_codes import OperatorError
from node.key_watch import KeyWatch
from node.metrics import Metrics
from node.peer_messages import HeadNotice, KeyNotice, TransactionBatch, decode_news
from node.peers import Peers
from node.question_server import QuestionServer
from node.synchronizer import Synchronizer
from node.transaction_relay import TransactionRelay
from p2p.interface import Announced, Asked, Channel, Joined, Left, Network, NetworkFailed, Received

log = structlog.get_logger()


class TransportDied(OperatorError):
    """The network's thread or process is gone, or could not start."""


class NetworkService:
    """Reads events until cancelled."""

    def __init__(
        self,
        network: Network,
        peers: Peers,
        driver: ConsensusDriver,
        synchronizer: Synchronizer,
        relay: TransactionRelay,
        questions: QuestionServer,
        watch: KeyWatch,
        metrics: Metrics,
    ) -> None:
        self._network = network
        self._peers = peers
        self._driver = driver
        self._synchronizer = synchronizer
        self._relay = relay
        self._questions = questions
        self._watch = watch
        self._metrics = metrics

    async def run(self) -> None:
        """Listen, and hand on what comes. Raises `TransportDied`."""
        try:
            await self._network.start()
            for address in self._network.addresses:
                log.info("p2p ready", address=address)
            while True:
                match await self._network.next_event():
                    case Joined(session):
                        self._peers.join(session)
                        self._relay.on_joined(session)
                        self._watch.on_joined(session)
                    case Left(number, reason):
                        self._peers.leave(number, reason)
                    case Received(number, channel, data):
                        await self._receive(number, channel, data)
                    case Asked(number, question, data):
                        self._questions.take(number, question, data)
                    case Announced(peer_id, data):
                        self._take_announcement(peer_id, data)
                self._metrics.peers.set(len(self._peers))
        except NetworkFailed as error:
            raise TransportDied(f"the network: {error}") from None
        finally:
            await self._network.close()

    def _take_announcement(self, peer_id: str, data: bytes) -> None:
        # A second way for what sessions say as well: nothing depends on it.
        self._metrics.announcements.inc()
        try:
            item = decode_news(data)
        except Rejected as rejected:
            self._metrics.peer_drops.labels(f"announcement_{rejected.reason.name.lower()}").inc()
            return
        if isinstance(item, HeadNotice):
            self._peers.note_announcement(peer_id, item.height)

    async def _receive(self, number: int, channel: Channel, data: bytes) -> None:
        session = self._peers.get_session(number)
        if session is None:
            return
        try:
            if channel is not Channel.TRANSACTIONS:
                await self._driver.receive(session, data)
                return
            match decode_news(data):
                case TransactionBatch() as batch:
                    self._relay.take(session, batch)
                case KeyNotice():
                    self._watch.take_notice(session)
                case HeadNotice(height):
                    self._peers.note_height(number, height)
                    if not self._driver.is_voting:
                        self._synchronizer.seek()
        except Rejected as rejected:
            self._metrics.peer_drops.labels(f"message_{rejected.reason.name.lower()}").inc()
            self._peers.punish(number, str(rejected))
