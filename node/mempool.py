"""Which transactions wait for a block: nonces without gaps per account, first come first served.

Pure bookkeeping in memory. `node/admission.py` checks what enters and makes it durable: a reserved
transaction counts for its account's next nonce, but no block takes it before it is durable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transaction, VerifiedTransaction

MAX_PER_ACCOUNT = 10_000
MAX_BYTES = 64 * 1024 * 1024
REPLACEMENT_PERCENT = 110
"""A replacement pays at least this share of the fee that it replaces."""


@dataclass(slots=True)
class Waiting:
    """One transaction in the pool; `sequence` is its place in line and its row in the table."""

    sequence: int
    sender: bytes
    verified: VerifiedTransaction
    is_durable: bool = False
    is_gone: bool = False
    """It waits no more: taken by a block, replaced, or unfit."""
    is_own: bool = True
    """Accepted here and durable here; another's is that node's to keep and to send again."""


@dataclass(slots=True)
class _Line:
    """One account's transactions: consecutive nonces from `first` up to `end`, not included."""

    first: int
    end: int
    waiting: dict[int, Waiting] = field(default_factory=dict)
    fees: int = 0


class Mempool:
    """Bounded by count, bytes and length of each account's line. One owner: the event loop."""

    def __init__(self, max_transactions: int, next_sequence: int = 0) -> None:
        self.max_transactions = max_transactions
        self.total_bytes = 0
        self._next_sequence = next_sequence
        self._lines: dict[bytes, _Line] = {}
        self._by_sequence: dict[int, Waiting] = {}
        self._by_id: dict[bytes, Waiting] = {}
        self._by_signature: dict[bytes, Waiting] = {}
        self._gone: list[int] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def has(self, transaction_id: bytes) -> bool:
        return transaction_id in self._by_id

    def get(self, transaction_id: bytes) -> VerifiedTransaction | None:
        waiting = self._by_id.get(transaction_id)
        return waiting.verified if waiting else None

    def get_waiting(self, transaction_id: bytes) -> Waiting | None:
        return self._by_id.get(transaction_id)

    def find_same(self, transaction: Transaction, raw: bytes) -> VerifiedTransaction | None:
        """Return what waits with these very bytes, whose signature need not be checked again."""
        waiting = self._by_signature.get(transaction.signature)
        return waiting.verified if waiting and waiting.verified.raw == raw else None

    @property
    def next_sequence(self) -> int:
        """The sequence that the next transaction will have."""
        return self._next_sequence

    def get_next_nonce(self, sender: bytes, account_nonce: int) -> int:
        """Return the nonce after the account's last waiting one."""
        line = self._lines.get(sender)
        return line.end if line else account_nonce

    def reserve(
        self,
        sender: bytes,
        verified: VerifiedTransaction,
        account_nonce: int,
        balance: int,
        *,
        is_own: bool = True,
    ) -> Waiting:
        """Enter a transaction that is not yet durable. Raises `Rejected`."""
        waiting = self._enter(self._next_sequence, sender, verified, account_nonce, balance)
        waiting.is_own = is_own
        self._next_sequence += 1
        return waiting

    def restore(
        self,
        sequence: int,
        sender: bytes,
        verified: VerifiedTransaction,
        account_nonce: int,
        balance: int,
    ) -> None:
        """Enter a transaction from its durable row, after a restart. Raises `Rejected`."""
        self._next_sequence = max(self._next_sequence, sequence + 1)
        self._enter(sequence, sender, verified, account_nonce, balance).is_durable = True

    def _enter(
        self,
        sequence: int,
        sender: bytes,
        verified: VerifiedTransaction,
        account_nonce: int,
        balance: int,
    ) -> Waiting:
        nonce, fee = verified.transaction.nonce, verified.transaction.fee
        line = self._lines.get(sender) or _Line(account_nonce, account_nonce)
        if nonce < line.first:
            raise Rejected(Rejection.NONCE_USED, f"the account's next nonce is {account_nonce}")
        if nonce > line.end:
            raise Rejected(Rejection.NONCE_GAP, f"the account's next nonce is {line.end}")
        replaced = line.waiting.get(nonce)
        replaced_fee = replaced.verified.transaction.fee if replaced else 0
        if replaced and fee * 100 < replaced_fee * REPLACEMENT_PERCENT:
            raise Rejected(Rejection.REPLACEMENT_UNDERPRICED)
        fees = line.fees + fee - replaced_fee
        if fees > balance:
            raise Rejected(
                Rejection.CANNOT_PAY_FEE,
                f"the fees in line come to {fees} base units, the balance is {balance}",
            )
        is_full = (
            len(self) >= self.max_transactions
            or len(line.waiting) >= MAX_PER_ACCOUNT
            or self.total_bytes + len(verified.raw) > MAX_BYTES
        )
        if is_full and not replaced:
            raise Rejected(Rejection.MEMPOOL_FULL)
        if replaced:
            self._drop(replaced)
        waiting = Waiting(sequence, sender, verified)
        self._lines[sender] = line
        line.waiting[nonce] = waiting
        line.end = max(line.end, nonce + 1)
        line.fees = fees
        self._by_sequence[waiting.sequence] = waiting
        self._by_id[verified.id] = waiting
        self._by_signature[verified.transaction.signature] = waiting
        self.total_bytes += len(verified.raw)
        return waiting

    def remove(self, waiting: Waiting) -> None:
        """Take out a transaction and every later one of its account, which can no longer apply."""
        line = self._lines.get(waiting.sender)
        nonce = waiting.verified.transaction.nonce
        if line is None or line.waiting.get(nonce) is not waiting:
            return
        for each in range(nonce, line.end):
            self._take(line, each)
        line.end = nonce
        self._drop_empty(waiting.sender, line)

    def list_overtaken(self, sender: bytes, account_nonce: int) -> list[int]:
        """Return the sequences of what `settle_account` with these arguments would take out."""
        line = self._lines.get(sender)
        if line is None:
            return []
        end = min(account_nonce, line.end)
        return [line.waiting[nonce].sequence for nonce in range(line.first, end)]

    def settle_account(self, sender: bytes, account_nonce: int) -> None:
        """Take out what a block has overtaken."""
        line = self._lines.get(sender)
        if line is None:
            return
        end = min(account_nonce, line.end)
        for each in range(line.first, end):
            self._take(line, each)
        line.first = max(line.first, end)
        self._drop_empty(sender, line)

    def take_gone(self) -> list[int]:
        """Return, once, the sequences of what has gone since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def iterate_durable(self) -> Iterator[Waiting]:
        """Yield the durable transactions in the order in which they came."""
        for waiting in list(self._by_sequence.values()):
            if waiting.is_durable:
                yield waiting

    def iterate_own(self) -> Iterator[Waiting]:
        """Yield what was accepted here and is durable, in the order in which it came."""
        for waiting in self.iterate_durable():
            if waiting.is_own:
                yield waiting

    def has_durable(self) -> bool:
        return any(waiting.is_durable for waiting in self._by_sequence.values())

    def _take(self, line: _Line, nonce: int) -> None:
        waiting = line.waiting.pop(nonce)
        line.fees -= waiting.verified.transaction.fee
        self._drop(waiting)

    def _drop(self, waiting: Waiting) -> None:
        waiting.is_gone = True
        self._gone.append(waiting.sequence)
        del self._by_sequence[waiting.sequence]
        del self._by_id[waiting.verified.id]
        del self._by_signature[waiting.verified.transaction.signature]
        self.total_bytes -= len(waiting.verified.raw)

    def _drop_empty(self, sender: bytes, line: _Line) -> None:
        if not line.waiting:
            del self._lines[sender]
