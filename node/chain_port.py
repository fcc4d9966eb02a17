"""The chain as the coordinator sees it: `coordinator.ports.Chain` over this node's own parts."""

from collections.abc import AsyncIterator, Sequence

from coordinator.ports import ChainStatus, FinalBlock, Located, MempoolStatus
from genesis.document import Genesis
from ledger.blocks import Header
from ledger.entries import Miner, miner_key, offer_key
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected
from ledger.state import StateView, get_account, get_authorities, get_miner
from ledger.state_tree import StateProof
from node.admission import Admission
from node.chain import Chain
from node.consensus_driver import ConsensusDriver
from node.entry_directory import EntryDirectory
from node.metrics import Metrics
from node.peers import Peers


class ChainPort:
    """What the job API may ask of the chain; every answer is about final state."""

    def __init__(
        self,
        genesis: Genesis,
        chain: Chain,
        admission: Admission,
        driver: ConsensusDriver,
        peers: Peers,
        metrics: Metrics,
    ) -> None:
        self._genesis = genesis
        self._chain = chain
        self._admission = admission
        self._driver = driver
        self._peers = peers
        self._metrics = metrics
        self._miners = EntryDirectory(chain.store, miner_key(""))
        self._offers = EntryDirectory(chain.store, offer_key(b""))

    @property
    def chain_id(self) -> bytes:
        return self._chain.rules.chain_id

    @property
    def parameters(self) -> Parameters:
        return self._genesis.parameters

    @property
    def proof(self) -> ProofParameters:
        return self._genesis.proof

    @property
    def is_dev(self) -> bool:
        return self._genesis.is_dev

    def get_head(self) -> Header:
        return self._chain.head

    def get_view(self) -> StateView:
        return self._chain.view

    async def list_miners(self, limit: int) -> list[tuple[str, Miner]]:
        names = await self.list_miner_names(None, limit)
        found = ((name, get_miner(self._chain.view, name)) for _, name in names)
        return [(name, miner) for name, miner in found if miner is not None]

    async def list_miner_names(self, before: int | None, limit: int) -> list[tuple[int, str]]:
        """Return the newest (leaf, name) pairs of miners below a leaf of the state."""
        return [(leaf, key.decode()) for leaf, key in await self._miners.list_keys(before, limit)]

    async def list_offer_ids(self, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        return await self._offers.list_keys(before, limit)

    def get_next_nonce(self, address: bytes) -> int:
        nonce = get_account(self._chain.view, address).nonce
        return self._chain.mempool.get_next_nonce(address, nonce)

    async def submit(self, raw: Sequence[bytes]) -> list[bytes | Rejected]:
        verdicts = await self._admission.submit(raw)
        for verdict in verdicts:
            if isinstance(verdict, Rejected):
                self._metrics.rejections.labels(verdict.reason.name).inc()
        return verdicts

    def subscribe(self) -> AsyncIterator[FinalBlock]:
        return self._chain.subscribe()

    async def read_blocks(self, first: int, limit: int) -> list[FinalBlock]:
        return await self._chain.store.read_blocks(first, limit)

    async def find_transaction(self, transaction_id: bytes) -> Located | None:
        return await self._chain.store.history.find_transaction(transaction_id)

    async def prove_entry(self, key: bytes) -> tuple[bytes, StateProof, Header]:
        proven = self._chain.store.prove_entry(key)
        if proven is None:
            raise KeyError(key)
        return proven

    def get_status(self) -> ChainStatus:
        head, mempool = self._chain.head, self._chain.mempool
        return ChainStatus(
            height=head.height,
            view=self._driver.view,
            hash=self._chain.head_hash,
            time_ms=head.time,
            finality="immediate",
            validators=len(get_authorities(self._chain.view).current.members),
            peers=len(self._peers),
            behind_by=self._peers.compute_behind_by(),
            mempool=MempoolStatus(len(mempool), mempool.total_bytes),
        )
