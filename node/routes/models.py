"""What the chain's own routes take and answer.

Money: a decimal string of AIT and beside it `*_base`, an exact integer string of base units. Times:
RFC 3339 in UTC; `*_ms` are milliseconds of header time. Hashes, keys and canonical bytes: hex.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, RootModel

from coordinator.http.job_models import Parameters, QueryNumber, Shown

T = TypeVar("T")

JsonObject = dict[str, Any]
MAX_PAGE = 100
MAX_SEARCH = 128


class PageQuery(Parameters):
    """A page from the newest item to the oldest, continued after the item of a cursor."""

    limit: Annotated[QueryNumber, Field(ge=1, le=MAX_PAGE)] = 10
    before: Annotated[QueryNumber, Field(ge=0)] | None = Field(
        None, description="Only items below this one: a block's height, another item's cursor"
    )
    cursor: Annotated[QueryNumber, Field(ge=0)] | None = Field(
        None, description="The same, as `next_cursor` of the page before"
    )

    @property
    def start(self) -> int | None:
        return self.before if self.cursor is None else self.cursor


class ProofQuery(Parameters):
    proof: Literal["0", "1", "false", "true"] = Field(
        "0", description="1: with the proof of inclusion under a final header"
    )

    @property
    def is_wanted(self) -> bool:
        return self.proof in ("1", "true")


class SupplyQuery(ProofQuery):
    height: Annotated[QueryNumber, Field(ge=0)] | None = None


class SearchQuery(Parameters):
    q: Annotated[str, Field(min_length=1, max_length=MAX_SEARCH)] = Field(
        description="A height, hash, id, address or miner name"
    )


class SuccessionsQuery(Parameters):
    epoch: Annotated[QueryNumber, Field(ge=0)] = Field(
        0, description="The first epoch whose last block is wanted"
    )
    limit: Annotated[QueryNumber, Field(ge=1, le=MAX_PAGE)] = 50


class Page(Shown, Generic[T]):
    items: list[T]
    next_cursor: str | None


class FinalHeader(Shown):
    """A header in canonical encoding, and the finality proof of it; block 0 has none."""

    height: int
    header: str
    finality: str | None


class ListProof(Shown):
    """A leaf of the list under one of the header's roots, and the siblings up to the root."""

    leaf: str
    index: int
    count: int
    siblings: list[str]


class TransactionProof(FinalHeader):
    """The transaction under `transactions_root` and its outcome under `receipts_root`."""

    transaction: ListProof
    outcome: ListProof


class EntryProof(FinalHeader):
    """An entry under `state_root`: the nodes on the way from its leaf to the root."""

    key: str
    value: str
    leaf: int
    count: int
    nodes: list[str]


class CertificateSummary(Shown):
    """Who made a block final: `block_hash` is the block's own, or that of a descendant."""

    block_hash: str
    epoch: int
    view: int
    signers: list[int]
    headers: int
    """Headers between the block and the one that was signed."""


class BlockSummary(Shown):
    height: int
    hash: str
    timestamp: str
    time_ms: int
    transactions: int
    parent_hash: str
    proposer: str
    epoch: int
    view: int
    tx_root: str
    receipts_root: str
    state_root: str
    finalized: bool
    certificate: CertificateSummary | None
    cursor: str


class BlockDetail(BlockSummary):
    chain_id: str
    parent_view: int
    authorities: str
    next_authorities: str
    transaction_ids: list[str]
    processed_deadlines: int
    header: str
    finality: str | None


class Transaction(Shown):
    """A final transaction; `payload` names what it does, never a job's content."""

    transaction_id: str
    status: Literal["pending", "final"]
    kind: str
    sender: str
    nonce: int
    fee: str
    fee_base: str
    valid_until: int
    payload: JsonObject
    height: int | None = None
    block_hash: str | None = None
    index: int | None = None
    timestamp: str | None = None
    code: int | None = None
    outcome: str | None = None
    """`applied`, or the name of the rejection."""
    detail: str | None = None
    events: list[JsonObject] = []
    cursor: str | None = None


class TransactionDetail(Transaction):
    proof: TransactionProof | None = None


class RawTransaction(Shown):
    raw: str = Field(description="Hex of the canonical bytes; `transaction` is read as well")


class Transactions(RootModel[str | RawTransaction | list[str | RawTransaction]]):
    """One signed transaction or up to 1,000, each as hex or as an object."""


class Verdict(Shown):
    transaction_id: str | None
    status: Literal["accepted", "rejected"]
    error_code: str | None = None
    rejection: int | None = None
    detail: str | None = None


class Verdicts(RootModel[Verdict | list[Verdict]]):
    """One verdict, or one for each transaction, in order."""


class Account(Shown):
    """An account after the block at `height`; one that nobody has paid yet is empty."""

    address: str
    balance: str
    balance_base: str
    nonce: int
    pending_nonce: int
    height: int
    proof: EntryProof | None = None


class AccountDetail(Account):
    transactions: list[Transaction]
    next_cursor: str | None


class Supply(Shown):
    height: int
    state_root: str
    supply_base: str
    balances_base: str
    escrow_base: str
    bonds_base: str
    balanced: bool
    proof: EntryProof | None = None


class MempoolSize(Shown):
    transactions: int
    bytes: int


class Voter(Shown):
    """An authority in force, and the newest vote of it that this node has heard."""

    index: int
    public_key: str
    is_self: bool
    is_connected: bool
    last_view: int | None
    last_vote: str | None
    silent_ms: int | None


class Peer(Shown):
    """A session with another node; `height` is what it claims."""

    peer_id: str
    public_key: str
    is_authority: bool
    is_inbound: bool
    agent: str
    height: int
    latency_ms: float | None
    connected_seconds: float
    bytes_received: int
    bytes_sent: int


class Peers(Shown):
    """`peer_id` is this node's own: the end of the multiaddress by which others dial it."""

    peer_id: str
    peers: list[Peer]
    behind_by: int


class ChainStatus(Shown):
    """Where this node stands, and what a holder of its own key needs to sign."""

    chain_id: str
    name: str
    is_dev: bool
    height: int
    hash: str
    view: int
    epoch: int
    state_root: str
    time: str
    time_ms: int
    finality: str
    validators: int
    peers: int
    behind_by: int
    voters: list[Voter]
    mempool: MempoolSize
    minimum_fee_rate: int
    maximum_validity: int
    proof_key_id: str
    proof: JsonObject
    parameters: JsonObject
    outage_ms: int


class Validator(Shown):
    index: int
    public_key: str
    address: str


class ValidatorProposal(Shown):
    """A change of the set that is voted on; it passes with `quorum` voters, up to `valid_until`."""

    proposal_id: str
    action: Literal["add", "remove"]
    public_key: str
    address: str
    voters: list[str]
    """Public keys, in the order of their votes."""
    valid_until: int


class ValidatorSet(Shown):
    """Who certifies the next block, who the one after it, and what is voted on."""

    height: int
    epoch: int
    quorum: int
    fault_bound: int
    validators: list[Validator]
    next_epoch: int
    next_validators: list[Validator]
    proposals: list[ValidatorProposal]


class Succession(Shown):
    """How the authority set of `epoch` came into force, in canonical encoding (hex): the last
    header of the epoch before, the proof that it is final, and the set."""

    epoch: int
    height: int
    succession: str


class Successions(Shown):
    successions: list[Succession]


class ChainReceipt(Shown):
    """A settlement as the chain knows it: a commitment to the receipt, and where the money went."""

    receipt_id: str
    job_id: str
    miner_id: str
    claim_number: int
    provider: str
    client: str
    service: str
    receipt_commit: str
    amount: str
    amount_base: str
    payout: str
    payout_base: str
    coordinator_share: str
    coordinator_share_base: str
    network_share: str
    network_share_base: str
    refund: str
    refund_base: str
    transaction_id: str
    height: int
    timestamp: str
    cursor: str


class ChainReceiptDetail(ChainReceipt):
    transaction_proof: TransactionProof
    job_proof: EntryProof


class ChainJob(Shown):
    """A job as the chain's state holds it; deadlines moved by the outages so far."""

    job_id: str
    client: str
    service: str
    coordinator: str
    billing: Literal["per_unit", "per_second"]
    escrow: str
    escrow_base: str
    job_commit: str
    status: str
    reason_code: int
    fault: str | None
    reason: str | None
    submitted_at: str
    queue_deadline: str
    total_deadline: str
    execution_limit_ms: int
    lease: JsonObject | None
    attempts: list[JsonObject]
    acceptance: JsonObject | None
    """The offer that the job is bound to, or was claimed under, and its public price."""
    settlement: JsonObject | None
    steps: list[JsonObject]
    height: int
    proof: EntryProof


class Miner(Shown):
    """A registered miner with the count of each way that its claims ended."""

    miner_id: str
    owner: str
    is_active: bool
    registered_at: str
    bond: str
    bond_base: str
    earned: str
    earned_base: str
    claims: int
    live_leases: int
    settled: int
    failed: int
    released: int
    lapsed: int
    cancelled: int
    average_completion_time: float | None
    """Seconds between claim and settlement."""
    encryption_key: str
    metadata: JsonObject | None
    """What the miner announces of itself; the chain carries it unread."""
    cursor: str | None = None


class MinerDetail(Miner):
    history: list[JsonObject]
    """Claims by their gapless numbers, from the newest on."""
    next_cursor: str | None
    height: int
    proof: EntryProof


class Offer(Shown):
    """A miner's offer as the chain's state holds it; its end moved by the outages so far."""

    offer_id: str
    miner_id: str
    owner: str
    service: str
    billing: Literal["per_unit", "per_second"]
    price: str
    price_base: str
    max_jobs: int
    accepted: int
    state: Literal["open", "cancelled", "expired", "used_up"]
    created_at: str
    expires_at: str
    metadata: JsonObject | None
    """What the offer says besides; the chain carries it unread."""
    cursor: str | None = None


class OfferDetail(Offer):
    transactions: list[Transaction]
    next_cursor: str | None
    height: int
    proof: EntryProof


class Offers(RootModel[list[Offer]]):
    """Offers, newest first."""


class Stats(Shown):
    total_jobs: int
    active_miners: int
    total_receipts: int
    block_height: int
    live_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    accounts: int
    validators: int
    waiting_transactions: int
    volume: str
    volume_base: str
    escrow: str
    escrow_base: str
    supply: str
    supply_base: str
    timestamp: str


class Hit(Shown):
    type: Literal["block", "transaction", "job", "receipt", "account", "miner", "offer"]
    id: str
    path: str


class Hits(RootModel[list[Hit]]):
    """What a search found."""


class Blocks(RootModel[list[BlockSummary]]):
    """Blocks, newest first."""


class TransactionsShown(RootModel[list[Transaction]]):
    """Transactions, newest first."""


class ChainReceipts(RootModel[list[ChainReceipt]]):
    """Receipts, newest first."""


class Miners(RootModel[list[Miner]]):
    """Miners, newest first."""
