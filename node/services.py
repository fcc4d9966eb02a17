"""The parts of a running node that its HTTP side is built on."""

from dataclasses import dataclass

from genesis.document import Genesis
from node.chain import Chain
from node.chain_port import ChainPort
from node.chain_store import ChainStore
from node.consensus_driver import ConsensusDriver
from node.database import Database
from node.metrics import Metrics
from node.peers import Peers
from node.proofs import ProofGate
from node.question_server import QuestionServer
from node.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition root hands to the HTTP side."""

    settings: NodeSettings
    genesis: Genesis
    seed: bytes
    database: Database
    store: ChainStore
    chain: Chain
    port: ChainPort
    driver: ConsensusDriver
    peers: Peers
    questions: QuestionServer
    gate: ProofGate
    metrics: Metrics
