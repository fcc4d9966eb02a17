"""Checking a store's blocks by their headers: one chain, final, each body the header's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from consensus.light_client import Succession
from consensus.messages import CommittedBlock, decode_finality
from consensus.verification import verify_committed
from coordinator.ports import FinalBlock
from genesis.document import Genesis, compute_chain_id
from ledger import codec, merkle
from ledger.blocks import AuthoritySet, Block, Header, compute_header_hash
from ledger.entries import Job, job_key
from ledger.rejection import Rejected
from ledger.state import StateView, get_authorities
from node import block_rows, chain_base
from node.chain_base import Committees, is_closing
from node.database_errors import DatabaseDamaged
from node.history_index import HEIGHT_MARK
from node.history_terms import compute_terms
from node.sqlcipher import RawConnection
from node.tables import SLOT_BITS
from node.verify_chain import ChainDamaged, build_genesis_base

_BLOCKS_PER_STEP: Final = 64


class BlockCheck:
    """One pass over the blocks; afterwards it knows what the history index has to hold of them."""

    def __init__(
        self, raw: RawConnection, path: Path, genesis: Genesis, head: Header, state: StateView
    ) -> None:
        self._raw = raw
        self._path = path
        self._genesis = genesis
        self._head = head
        self._state = state
        self._committees = Committees(
            compute_chain_id(genesis), AuthoritySet(0, genesis.authorities)
        )
        self._successions = {
            each.following.epoch: each for each in chain_base.read_successions(raw)
        }
        marks = dict(raw.execute("select name, number from marks").fetchall())
        self.indexed_height: int = marks.get(HEIGHT_MARK, 0)
        """The first height that the segments of the history index do not hold."""
        self.indexed_pairs = 0
        self.indexed_sum = 0
        """Of the terms and positions of those pairs."""

    def run(self) -> str:
        """Check every block. Raises `ChainDamaged` and `DatabaseDamaged`."""
        base = chain_base.read_base_height(self._raw)
        transactions, parent = 0, None
        for block in self._iterate(base):
            height = base if parent is None else parent.height + 1
            if block.header.height != height:
                raise self._damage(f"block {height} is missing")
            try:
                self._check(block, parent)
            except (Rejected, ValueError) as error:
                raise ChainDamaged(f"block {height}: {error}") from None
            self._note_pairs(block)
            transactions += len(block.transactions)
            parent = block.header
        if parent != self._head:
            raise self._damage("the blocks do not end with the head")
        self._check_rows(base)
        current = get_authorities(self._state).current
        if current != self._committees.newest.authorities or len(self._successions) != (
            current.epoch
        ):
            raise ChainDamaged("the state's authority set is not the one that the epochs lead to")
        return f"{self._head.height - base + 1} from {base} on, {transactions} transactions"

    def _iterate(self, first: int) -> Iterator[FinalBlock]:
        while blocks := block_rows.read_blocks(self._raw, first, _BLOCKS_PER_STEP):
            yield from blocks
            first = blocks[-1].header.height + 1

    def _check(self, block: FinalBlock, parent: Header | None) -> None:
        """Check one block behind its parent; the first one is that of genesis or a snapshot's."""
        header = block.header
        if header.height == 0:
            if block != build_genesis_base(self._genesis).block:
                raise ValueError("it is not that of the genesis document")
            return
        if parent is None:
            for epoch in range(1, header.epoch + 1):
                self._committees.follow(self._get_succession(epoch))
        elif (header.parent, header.parent_view) != (compute_header_hash(parent), parent.view):
            raise ValueError("its parent is not the block below it")
        elif header.time <= parent.time:
            raise ValueError("it is not later than its parent")
        if block.hash != compute_header_hash(header):
            raise ValueError("the stored hash is not the header's")
        if merkle.compute_root([codec.encode(each) for each in block.outcomes]) != (
            header.receipts_root
        ):
            raise ValueError("the stored outcomes are not the header's")
        committed = CommittedBlock(
            Block(header, block.transactions), decode_finality(block.certificate)
        )
        verify_committed(committed, self._committees.newest)
        if is_closing(header):
            succession = self._get_succession(header.epoch + 1)
            if succession.header != header:
                raise ValueError("another block is kept as the last of its epoch")
            self._committees.follow(succession)

    def _get_succession(self, epoch: int) -> Succession:
        succession = self._successions.get(epoch)
        if succession is None:
            raise self._damage(f"it does not say how the authority set of epoch {epoch} came about")
        return succession

    def _note_pairs(self, block: FinalBlock) -> None:
        height = block.header.height
        if height < self.indexed_height:
            pairs = compute_terms(
                height, block.hash, block.transactions, block.outcomes, self._get_job
            )
            self.indexed_pairs += len(pairs)
            self.indexed_sum += sum(term + position for term, position in pairs)

    def _get_job(self, job: bytes) -> Job | None:
        entry = self._state.get(job_key(job))
        return entry if isinstance(entry, Job) else None

    def _check_rows(self, base: int) -> None:
        """Look for outcomes of no block, and for counts that are not the rows'."""
        first, end = base << SLOT_BITS, (self._head.height + 1) << SLOT_BITS
        strays = self._raw.execute(
            "select count(*) from outcomes where position < ? or position >= ?", (first, end)
        ).fetchone()[0]
        counted = self._raw.execute("select sum(due_count) from blocks").fetchone()[0]
        due = self._raw.execute(
            'select count(*) from outcomes where "transaction" is null'
        ).fetchone()[0]
        if strays or counted != due:
            raise self._damage("there are outcomes of no block")

    def _damage(self, detail: str) -> DatabaseDamaged:
        return DatabaseDamaged(f"the database {self._path} is damaged: {detail}")
