"""The job API's tables: what is kept beside the chain.

The chain is the truth about money and leases; of these rows only the content, the openings and the
keys exist nowhere else. Times are milliseconds since the Unix epoch, money base units.
"""

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import configure_mappers, registry
from sqlmodel import Field, SQLModel

from coordinator.sql import PlainRow


class CoordinatorTable(PlainRow, SQLModel, registry=registry(metadata=MetaData())):
    """The tables of this package, apart from any other package's."""


class AccountRow(CoordinatorTable, table=True):
    """An account that keys belong to. `sealed_seed` is None when its holder signs by itself."""

    __tablename__ = "coordinator_accounts"

    account_id: int | None = Field(default=None, primary_key=True)
    address: bytes = Field(sa_type=LargeBinary, unique=True)
    sealed_seed: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)


class KeyRow(CoordinatorTable, table=True):
    """An API key, as its hash."""

    __tablename__ = "coordinator_keys"

    key_id: int | None = Field(default=None, primary_key=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id")
    role: str
    key_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    label: str = ""
    created_ms: int = Field(sa_type=BigInteger)
    revoked_ms: int | None = Field(default=None, sa_type=BigInteger)


class JobRow(CoordinatorTable, table=True):
    """A job: its terms, and a cache of what final blocks said of it."""

    __tablename__ = "coordinator_jobs"
    __table_args__ = (
        # What retention looks for, and of a job that still runs nothing to write.
        Index(
            "jobs_to_erase",
            "ended_ms",
            sqlite_where=sa.text("ended_ms IS NOT NULL AND is_content_erased IS 0"),
        ),
    )

    row_id: int | None = Field(default=None, primary_key=True)
    job_id: bytes = Field(sa_type=LargeBinary, unique=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id", index=True)
    client: bytes = Field(sa_type=LargeBinary)
    request_hash: bytes = Field(sa_type=LargeBinary)
    name: str = ""
    job_type: str
    service: str
    model: str
    requirements: str = Field(default="{}", sa_type=Text)
    billing: int = 0
    max_units: int = Field(sa_type=BigInteger)
    max_price: int = Field(sa_type=BigInteger)
    escrow: int = Field(sa_type=BigInteger)
    input_hash: bytes = Field(sa_type=LargeBinary)
    salt: bytes = Field(sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)
    queue_deadline: int = Field(sa_type=BigInteger)
    execution_limit: int = Field(sa_type=BigInteger)
    total_deadline: int = Field(sa_type=BigInteger)
    submit_tx: bytes = Field(sa_type=LargeBinary)

    status: str = Field(default="pending", index=True)
    phase: str = "escrowing"
    chain_status: int | None = None
    """`ledger.entries.JobStatus`, once the escrow is final."""
    progress: int = 0
    reported_phase: str | None = None
    estimated_seconds: int = 0
    miner: str | None = Field(default=None, index=True)
    claim_number: int | None = Field(default=None, sa_type=BigInteger)
    claimed_ms: int | None = Field(default=None, sa_type=BigInteger)
    lease_ends: int | None = Field(default=None, sa_type=BigInteger)
    """Working-clock time (rule D1)."""
    claim_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    is_lease_delivered: bool = False
    started_ms: int | None = Field(default=None, sa_type=BigInteger)
    ended_ms: int | None = Field(default=None, sa_type=BigInteger)
    cancel_requested_ms: int | None = Field(default=None, sa_type=BigInteger)
    cancel_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    settle_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    end_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The final transaction that ended the job; None when a deadline did."""
    end_height: int | None = Field(default=None, sa_type=BigInteger)
    end_block: bytes | None = Field(default=None, sa_type=LargeBinary)
    payout: int = Field(default=0, sa_type=BigInteger)
    amount: int = Field(default=0, sa_type=BigInteger)
    refunded: int = Field(default=0, sa_type=BigInteger)
    fault: str | None = None
    reason_code: int = 0
    is_content_erased: bool = False


class ContentRow(CoordinatorTable, table=True):
    """What a job is about: seen by its owner and, under the lease, by its miner."""

    __tablename__ = "coordinator_contents"

    job_row_id: int = Field(primary_key=True, foreign_key="coordinator_jobs.row_id")
    content: str | None = Field(default=None, sa_type=Text)
    request: str = Field(default="{}", sa_type=Text)
    """The members that were given and that no rule reads, as JSON."""
    result: str | None = Field(default=None, sa_type=Text)


class ReceiptRow(CoordinatorTable, table=True):
    """The receipt of the claim in force, or of the one that settled."""

    __tablename__ = "coordinator_receipts"

    job_row_id: int = Field(primary_key=True, foreign_key="coordinator_jobs.row_id")
    account_id: int
    """The miner's."""
    miner: str = Field(index=True)
    provider: bytes = Field(sa_type=LargeBinary, index=True)
    client: bytes = Field(sa_type=LargeBinary, index=True)
    document: str = Field(sa_type=Text)
    """Core and signature, as they were signed."""
    attestations: str = Field(default="[]", sa_type=Text)
    opening: str = Field(sa_type=Text)
    price_opening: str = Field(sa_type=Text)
    request_hash: bytes = Field(sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)
    is_final: bool = False


class TransactionRow(CoordinatorTable, table=True):
    """A transaction handed to the node here, until a final block holds it."""

    __tablename__ = "coordinator_transactions"

    row_id: int | None = Field(default=None, primary_key=True)
    transaction_id: bytes = Field(sa_type=LargeBinary, unique=True)
    sender: bytes = Field(sa_type=LargeBinary, index=True)
    nonce: int = Field(sa_type=BigInteger)
    spend: int = Field(sa_type=BigInteger)
    """Base units that leave the balance, the fee included."""
    valid_until: int = Field(sa_type=BigInteger)
    job_id: bytes | None = Field(default=None, sa_type=LargeBinary)
    raw: bytes = Field(sa_type=LargeBinary)
    state: str = Field(default="pending", index=True)
    """pending, final, failed, expired or refused."""
    code: int = 0


class ForeignLeaseRow(CoordinatorTable, table=True):
    """A lease on another coordinator's job, claimed for a miner whose key is kept here."""

    __tablename__ = "coordinator_foreign_leases"

    job_id: bytes = Field(sa_type=LargeBinary, primary_key=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id")
    """The miner's."""
    miner: str
    claim_tx: bytes = Field(sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)
    content: str | None = Field(default=None, sa_type=Text)
    terms: str | None = Field(default=None, sa_type=Text)
    token: bytes | None = Field(default=None, sa_type=LargeBinary)
    is_delivered: bool = False
    request_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    document: str | None = Field(default=None, sa_type=Text)
    """The receipt, as it was signed here."""
    opening: str | None = Field(default=None, sa_type=Text)
    price_opening: str | None = Field(default=None, sa_type=Text)
    result: bytes | None = Field(default=None, sa_type=LargeBinary)
    """What is owed to the job's coordinator, until it has taken it."""
    attestations: str | None = Field(default=None, sa_type=Text)
    """The coordinator's word that it has."""
    settlement: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The proved payload, canonical."""
    end_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    """What ends the lease, once it has left: the settlement, or the report."""
    is_settled: bool = False


class WorkerRow(CoordinatorTable, table=True):
    """A miner name that an account registered here, and when it was last heard of."""

    __tablename__ = "coordinator_workers"

    miner: str = Field(primary_key=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id", index=True)
    register_tx: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)
    seen_ms: int = Field(sa_type=BigInteger)


class IdempotencyRow(CoordinatorTable, table=True):
    """An `Idempotency-Key` and the answer that it stands for; no status while it runs."""

    __tablename__ = "coordinator_idempotency"
    __table_args__ = (UniqueConstraint("account_id", "route", "key_hash"),)

    row_id: int | None = Field(default=None, primary_key=True)
    account_id: int
    route: str
    key_hash: bytes = Field(sa_type=LargeBinary)
    request_hash: bytes = Field(sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger, index=True)
    status: int | None = None
    headers: str = Field(default="{}", sa_type=Text)
    body: bytes | None = Field(default=None, sa_type=LargeBinary)


class FileRow(CoordinatorTable, table=True):
    """A file of an account, its own or its jobs'; its bytes lie in `FilePartRow`s."""

    __tablename__ = "coordinator_files"

    row_id: int | None = Field(default=None, primary_key=True)
    file_id: bytes = Field(sa_type=LargeBinary, unique=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id", index=True)
    name: str
    content_type: str
    size: int = Field(default=0, sa_type=BigInteger)
    sha256: bytes = Field(default=b"", sa_type=LargeBinary)
    is_complete: bool = False
    is_output: bool = False
    """Stored by a miner as a job's result: it counts to the job's bounds."""
    created_ms: int = Field(sa_type=BigInteger, index=True)


class FilePartRow(CoordinatorTable, table=True):
    """A piece of a file."""

    __tablename__ = "coordinator_file_parts"

    file_row_id: int = Field(primary_key=True, foreign_key="coordinator_files.row_id")
    part: int = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary)


class JobFileRow(CoordinatorTable, table=True):
    """A file that a job names as its source, or that its miner stored as a result."""

    __tablename__ = "coordinator_job_files"

    job_row_id: int = Field(primary_key=True, foreign_key="coordinator_jobs.row_id")
    file_row_id: int = Field(primary_key=True, foreign_key="coordinator_files.row_id", index=True)
    is_output: bool = False


class UpdateRow(CoordinatorTable, table=True):
    """A line of the log of what happened (`updates.py`)."""

    __tablename__ = "coordinator_updates"

    seq: int = Field(primary_key=True)
    account_id: int = Field(index=True)
    """Who may hear of it; 0: everybody."""
    type: str
    data: str = Field(sa_type=Text)
    job: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_ms: int = Field(sa_type=BigInteger)


class WebhookRow(CoordinatorTable, table=True):
    """An address that an account has told of what happens (`webhooks.py`)."""

    __tablename__ = "coordinator_webhooks"

    row_id: int | None = Field(default=None, primary_key=True)
    webhook_id: bytes = Field(sa_type=LargeBinary, unique=True)
    account_id: int = Field(foreign_key="coordinator_accounts.account_id", index=True)
    key_id: int = Field(foreign_key="coordinator_keys.key_id", index=True)
    """The key that asked for it: it ends with that key."""
    url: str
    events: str
    """Types of updates, with spaces between them."""
    description: str = ""
    sealed_secret: bytes = Field(sa_type=LargeBinary)
    sealed_old_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    old_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    created_ms: int = Field(sa_type=BigInteger)
    since_seq: int = Field(sa_type=BigInteger)
    """It is told of what stands in the log behind this."""
    failing_since_ms: int | None = Field(default=None, sa_type=BigInteger)
    disabled_ms: int | None = Field(default=None, sa_type=BigInteger)
    disabled_reason: str | None = None


class DeliveryRow(CoordinatorTable, table=True):
    """A message to a webhook: on its way, delivered or given up (`webhook_queue.py`)."""

    __tablename__ = "coordinator_deliveries"
    __table_args__ = (
        Index("deliveries_due", "webhook_row_id", "state", "next_ms"),
        Index("deliveries_waiting", "state", "type", "webhook_row_id"),
    )

    row_id: int | None = Field(default=None, primary_key=True)
    delivery_id: bytes = Field(sa_type=LargeBinary, unique=True)
    webhook_row_id: int = Field(foreign_key="coordinator_webhooks.row_id")
    type: str
    body: str = Field(sa_type=Text)
    state: str
    """pending, delivered or dead."""
    attempts: int = 0
    created_ms: int = Field(sa_type=BigInteger)
    queued_ms: int = Field(sa_type=BigInteger)
    """When it was made, or last asked for again."""
    next_ms: int = Field(sa_type=BigInteger)
    ended_ms: int | None = Field(default=None, sa_type=BigInteger, index=True)
    last_status: int | None = None
    last_error: str | None = None


class WebhookPlaceRow(CoordinatorTable, table=True):
    """How far webhooks were told: in the log of updates, and of blocks."""

    __tablename__ = "coordinator_webhook_place"

    only: int = Field(default=1, primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    height: int = Field(sa_type=BigInteger)


class AuditRow(CoordinatorTable, table=True):
    """A line of the audit log (`audit.py`)."""

    __tablename__ = "coordinator_audit"

    row_id: int | None = Field(default=None, primary_key=True)
    time_ms: int = Field(sa_type=BigInteger, index=True)
    account_id: int | None = Field(default=None, index=True)
    key_id: int | None = None
    role: str | None = None
    action: str
    objects: str = Field(sa_type=Text)
    status: int
    error_code: str | None = None
    request_id: str
    remote: str | None = None


class FollowedRow(CoordinatorTable, table=True):
    """The last final block whose events the rows hold."""

    __tablename__ = "coordinator_followed"

    only: int = Field(default=1, primary_key=True)
    height: int = Field(sa_type=BigInteger)


METADATA = CoordinatorTable.metadata
# Otherwise done when the first row is constructed; a restarted node loads some before.
configure_mappers()
