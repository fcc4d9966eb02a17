"""The coordinator as one object: what the node hands in, and the services built on it."""

from collections.abc import Awaitable, Callable
from typing import Any

from coordinator import job_rows
from coordinator.accounts import KeyRing
from coordinator.audit import AuditLog
from coordinator.fleet import Fleet
from coordinator.foreign_jobs import ForeignJobs
from coordinator.job_rows import JobRecord
from coordinator.locks import KeyedLocks
from coordinator.market_totals import Market
from coordinator.offer_book import OfferBook
from coordinator.passing import Passing
from coordinator.peer_limits import PeerLimits
from coordinator.ports import Chain, Relay, Storage
from coordinator.settings import CoordinatorSettings
from coordinator.signals import FOLLOWED, QUEUE, Signals
from coordinator.streams import Streams
from coordinator.wallets import Wallets
from ledger.context import Rules, VerifyProof
from ledger.crypto import compute_address, compute_public_key
from zk.process import ProverProcess

BuildBundle = Callable[[bytes], Awaitable[dict[str, Any] | None]]
"""Returns the file that verifies a job's receipt with no network, or None without a receipt."""


class Coordinator:
    """Everything that a handler may use. Lives on one event loop."""

    def __init__(
        self,
        *,
        chain: Chain,
        storage: Storage,
        relay: Relay,
        settings: CoordinatorSettings,
        seed: bytes,
        sealing_key: bytes,
        prover: ProverProcess,
        verify_proof: VerifyProof,
        build_bundle: BuildBundle,
        clock: Callable[[], int],
        version: str,
        environment: str = "development",
    ) -> None:
        """`seed` signs attestations, its address earns the share; `clock` gives milliseconds."""
        self.chain = chain
        self.storage = storage
        self.relay = relay
        self.settings = settings
        self.seed = seed
        self.public_key = compute_public_key(seed)
        self.address = compute_address(self.public_key)
        self.prover = prover
        self.build_bundle = build_bundle
        self.version = version
        self.environment = environment
        self.rules = Rules(chain.chain_id, chain.parameters, chain.proof, verify_proof)
        self.sealing_key = sealing_key
        self.signals = Signals()
        self.keys = KeyRing(storage)
        self.audit = AuditLog(storage)
        self.wallets = Wallets(chain, storage, settings, sealing_key, self.signals)
        self.job_locks = KeyedLocks()
        self.foreign = ForeignJobs(self.address)
        self.peer_limits = PeerLimits()
        self.fleet = Fleet(chain)
        self.offers = OfferBook(chain)
        self.market = Market(chain)
        self.passing = Passing()
        self.streams = Streams(self.signals)
        self.claims: dict[bytes, tuple[str, bytes | None]] = {}
        """Jobs with a claim from here on its way, and the claim's id where its miner signed it."""
        self.due_webhooks: set[int] = set()
        """Rows of webhooks with a delivery that was asked for by hand."""
        self.accepted: dict[bytes, str] = {}
        """Jobs that an accepted offer was to keep for a miner, and that miner."""
        self.seen: dict[str, int] = {}
        """When a miner's row last said that it was there, in milliseconds."""
        self.looked: dict[str, int] = {}
        """Up to which row a miner's last look for work came, where it did not come to the end."""
        self.open_sockets = 0
        """Of live updates; set by their hub."""
        self.followed = -1
        """The last final block whose events the rows hold."""
        self._clock = clock

    def get_now(self) -> int:
        """Return the time in milliseconds: the clock's, or the head's where that is later."""
        return max(self._clock(), self.chain.get_head().time)

    async def find_job(self, job_id: bytes) -> JobRecord | None:
        """Return a job that was submitted here, whoever's it is."""
        return await self.storage.read(lambda connection: job_rows.find_job(connection, job_id))

    def note_followed(self, height: int) -> None:
        """Note that the rows hold a block's events."""
        self.followed = height
        self.signals.announce(FOLLOWED)

    async def wait_followed(self) -> None:
        """Return once the rows hold the events of the head that is final now."""
        height = self.chain.get_head().height
        with self.signals.listen(FOLLOWED) as listener:
            while self.followed < height:
                await listener.wait(self.settings.claim_wait)

    def note_reachable(self, coordinator: bytes) -> None:
        """Note that the coordinator of this address can be asked: it may have jobs."""
        self.foreign.note_answer(coordinator)
        self.signals.announce(QUEUE)

    async def close(self) -> None:
        """Write the last lines of the audit log, and forget the keys that were seen."""
        await self.audit.flush()
        self.keys.clear()
