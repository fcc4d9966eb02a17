"""A quick look over a whole store at rest: pages, state, blocks and their proofs, indexes, journal.

It executes nothing, changes nothing, and holds one piece of anything at a time, where
`verify-chain` makes the whole state again. Whether an outcome is the one that the rules give it
does not tell: for that the authorities that signed for the header stand.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from consensus.journal import JournalDamaged, decode_journal
from consensus.sign_state import SignState, SignStateRefused, check_sign_state
from genesis.document import Genesis, compute_chain_id
from ledger.blocks import Header
from node import block_rows, mempool_rows, sqlcipher
from node.block_check import BlockCheck
from node.chain_store import naming_damage
from node.database_errors import DatabaseDamaged, WrongChain
from node.history_index import SEGMENTS_MARK
from node.sqlcipher import RawConnection
from node.state_check import check_state
from node.stored_state import CACHE_KIB, StoredState
from node.vote_journal import JournalRefused

PAIRS_PER_STEP: Final = 65_536


class Check(NamedTuple):
    """One thing that was looked at and found whole. `seconds` it took."""

    name: str
    found: str
    seconds: float


class DatabaseChecker:
    """Looks at one database that nobody writes. `clock` gives seconds; `say` hears each check."""

    def __init__(
        self,
        path: Path,
        key: bytes | None,
        genesis: Genesis,
        clock: Callable[[], float],
        say: Callable[[Check], None],
    ) -> None:
        self._path = path
        self._key = key
        self._genesis = genesis
        self._clock = clock
        self._say = say

    def run(self, journal: Path, public_key: bytes) -> list[Check]:
        """Check everything; the journal is that of the node with this key.

        Raises `DatabaseDamaged` for what contradicts itself, `ChainDamaged` for what the chain's
        rules do not give, `JournalRefused`, and the classes of node/database_errors.py.
        """
        sqlcipher.check_bundled_engine()
        sqlcipher.check_files(self._path, self._key, is_dev=self._genesis.is_dev)
        raw = sqlcipher.connect(self._path, self._key, is_reader=True, cache_kib=CACHE_KIB)
        try:
            with naming_damage(self._path):
                return list(self._iterate(raw, journal, public_key))
        finally:
            raw.close()

    def _iterate(self, raw: RawConnection, journal: Path, public_key: bytes) -> Iterator[Check]:
        checks: tuple[tuple[str, Callable[[], str]], ...]
        if self._key is not None:
            yield self._time("pages", lambda: self._check_pages(raw))
        yield self._time("tables", lambda: self._check_tables(raw))
        head = self._find_head(raw)
        state = StoredState(raw)
        blocks = BlockCheck(raw, self._path, self._genesis, head, state)
        checks = (
            ("state", lambda: check_state(raw, self._path, state, head)),
            ("blocks", blocks.run),
            ("index", lambda: self._check_index(raw, blocks, head)),
            ("mempool", lambda: f"{mempool_rows.count_waiting(raw)} transactions kept"),
            ("signatures", lambda: self._check_signatures(raw, journal, public_key)),
        )
        for name, check in checks:
            yield self._time(name, check)

    def _time(self, name: str, work: Callable[[], str]) -> Check:
        start = self._clock()
        found = work()
        check = Check(name, found, self._clock() - start)
        self._say(check)
        return check

    def _find_head(self, raw: RawConnection) -> Header:
        found = block_rows.read_head(raw)
        if found is None:
            raise DatabaseDamaged(f"the database {self._path} holds no chain")
        chain_id = compute_chain_id(self._genesis)
        if found[0].chain_id != chain_id:
            raise WrongChain(
                f"{self._path} holds the chain {found[0].chain_id.hex()}, not {chain_id.hex()}"
            )
        return found[0]

    def _check_pages(self, raw: RawConnection) -> str:
        """Let SQLCipher authenticate every page of the file."""
        wrong = [row[0] for row in raw.execute("pragma cipher_integrity_check").fetchall()]
        if wrong:
            raise self._damage(f"{len(wrong)} pages are not authentic: {wrong[0]}")
        count = raw.execute("pragma page_count").fetchone()[0]
        return f"{count} pages authentic"

    def _check_tables(self, raw: RawConnection) -> str:
        """Let SQLite look at its trees, rows and indexes."""
        answer = raw.execute("pragma integrity_check(1)").fetchone()[0]
        if answer != "ok":
            raise self._damage(answer)
        count = raw.execute("select count(*) from sqlite_master where type = 'table'").fetchone()
        return f"{count[0]} tables whole"

    def _check_index(self, raw: RawConnection, blocks: BlockCheck, head: Header) -> str:
        """Compare the segments of the history index with the blocks that they are made from."""
        marks = dict(raw.execute("select name, number from marks").fetchall())
        segments = marks.get(SEGMENTS_MARK, 0)
        if blocks.indexed_height > head.height + 1:
            raise self._damage("the index goes further than the blocks")
        pairs = total = 0
        rows = raw.execute(
            "select term, position from history_index where segment < ?", (segments,)
        )
        while step := list(islice(rows, PAIRS_PER_STEP)):
            pairs += len(step)
            total += sum(term + position for term, position in step)
        if (pairs, total) != (blocks.indexed_pairs, blocks.indexed_sum):
            raise self._damage("the history index is not that of the blocks")
        return f"{pairs} places in {segments} segments"

    def _check_signatures(self, raw: RawConnection, path: Path, public_key: bytes) -> str:
        """Check that the journal is whole and no older than the store (rule C11)."""
        stored = block_rows.read_sign_sequence(raw)
        try:
            data = path.read_bytes() if path.exists() else b""
            journal = decode_journal(data, compute_chain_id(self._genesis), public_key)
            sequence = SignState.restore(journal).sequence if journal else None
            check_sign_state(sequence, stored)
        except (JournalDamaged, SignStateRefused) as error:
            raise JournalRefused(f"{path}: {error}") from None
        return f"{sequence or 0} in the journal, {stored} known to the store"

    def _damage(self, detail: str) -> DatabaseDamaged:
        return DatabaseDamaged(f"the database {self._path} is damaged: {detail}")
