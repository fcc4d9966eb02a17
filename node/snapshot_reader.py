"""Reading a snapshot that anybody may have made: nothing is believed unproved (rules K1 to K5).

Genesis gives the first authority set; each succession the next; the set of the base block's epoch
checks its finality proof; its header's root checks the hashes of the pieces, and these each piece
as it comes, so that no more than one is in memory.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from consensus.light_client import Succession
from consensus.verification import verify_block, verify_finality
from coordinator.ports import FinalBlock
from genesis.document import Genesis, compute_chain_id
from ledger import codec, merkle
from ledger.blocks import AuthoritySet, compute_header_hash
from ledger.entries import AUTHORITIES_KEY, Authorities, Entry
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, MemoryState
from ledger.state_tree import NodeKey, count_levels, hash_leaf, join_levels, seal_root
from ledger.transactions import verify_transaction
from node.chain_base import Committees, is_closing
from node.database_errors import WrongChain
from node.exit_codes import ExitCode, OperatorError
from node.snapshot_format import (
    HASH_BYTES,
    HASHES_PER_FRAME,
    PIECE_ENTRIES,
    PIECE_LEVELS,
    BaseBlockFrame,
    SnapshotHead,
    StateItem,
    StatePiece,
    count_pieces,
    read_end,
    read_frame,
    read_magic,
    read_record,
)


class SnapshotRefused(OperatorError):
    """The file is not what the chain's authorities signed for."""

    exit_code = ExitCode.VERIFICATION_FAILED


class Piece(NamedTuple):
    """Checked entries at the next leaves, and the nodes of the tree that stand on them alone."""

    items: list[tuple[bytes, Entry]]
    nodes: dict[NodeKey, bytes]


class SnapshotReader:
    """A snapshot whose base block is proved; `iterate_pieces` proves the state under it."""

    def __init__(self, file: BinaryIO, genesis: Genesis) -> None:
        """Read everything before the state. Raises `Rejected`, `WrongChain` for another chain's."""
        self._file = file
        read_magic(file)
        head = read_record(file, SnapshotHead)
        chain_id = compute_chain_id(genesis)
        if head.chain_id != chain_id:
            raise WrongChain(
                f"the snapshot is of the chain {head.chain_id.hex()}, not {chain_id.hex()}"
            )
        self.entries = head.entries
        self.epoch = head.epoch
        self.successions: list[Succession] = []
        committees = Committees(head.chain_id, AuthoritySet(0, genesis.authorities))
        while committees.newest.epoch < head.epoch:
            succession = read_record(file, Succession)
            committees.follow(succession)
            self.successions.append(succession)
        self._authorities = committees.newest.authorities
        self.block = self._read_base_block(head, committees)
        self.state_root = self.block.header.state_root
        self._hashes, self.top_nodes = self._read_hashes()

    def iterate_pieces(self) -> Iterator[Piece]:
        """Yield the whole state, each piece checked, and at the end the file's end too.

        To be used once. Raises `Rejected`.
        """
        levels = min(PIECE_LEVELS, count_levels(self.entries))
        left = self.entries
        for number, expected in enumerate(self._hashes):
            items = read_record(self._file, StatePiece).items
            if len(items) != min(left, PIECE_ENTRIES):
                raise Rejected(Rejection.MALFORMED, f"piece {number} has {len(items)} entries")
            leaves = [hash_leaf(item.key, codec.encode(item.entry)) for item in items]
            hashes, nodes = join_levels(leaves, 0, number * PIECE_ENTRIES, levels)
            if hashes != [expected]:
                raise Rejected(Rejection.BAD_ROOT, f"piece {number} is not of this state")
            self._check_authorities(items)
            left -= len(items)
            yield Piece([(item.key, item.entry) for item in items], nodes)
        read_end(self._file)

    def _read_base_block(self, head: SnapshotHead, committees: Committees) -> FinalBlock:
        """Return the block after which the state is, with everything that its header commits to."""
        frame = read_record(self._file, BaseBlockFrame)
        block, header = frame.block, frame.block.header
        if (header.height, header.epoch + is_closing(header)) != (head.height, head.epoch):
            raise Rejected(Rejection.BAD_HEADER, "another height or epoch than the file's")
        committee = committees.find(header.epoch)
        assert committee is not None, "the epochs up to this one were followed"
        verify_finality(header, frame.finality, committee)
        verify_block(block)
        if merkle.compute_root([codec.encode(each) for each in frame.outcomes]) != (
            header.receipts_root
        ):
            raise Rejected(Rejection.BAD_ROOT, "outcomes")
        ids = tuple(
            verify_transaction(each, codec.encode(each), header.chain_id).id
            for each in block.transactions
        )
        subjects = [outcome.subject for outcome in frame.outcomes]
        if subjects[len(subjects) - len(ids) :] != list(ids) or len(subjects) < len(ids):
            raise Rejected(Rejection.MALFORMED, "the outcomes are not the transactions'")
        return FinalBlock(
            header=header,
            hash=compute_header_hash(header),
            transactions=block.transactions,
            transaction_ids=ids,
            outcomes=frame.outcomes,
            certificate=codec.encode(frame.finality),
        )

    def _read_hashes(self) -> tuple[list[bytes], dict[NodeKey, bytes]]:
        """Return the hash of each piece, and the nodes over them up to the header's root."""
        hashes: list[bytes] = []
        count = count_pieces(self.entries)
        while len(hashes) < count:
            content = read_frame(self._file)
            if len(content) != HASH_BYTES * min(count - len(hashes), HASHES_PER_FRAME):
                raise Rejected(Rejection.MALFORMED, "a list of hashes of another length")
            hashes += [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
        levels = count_levels(self.entries)
        above = levels - min(PIECE_LEVELS, levels)
        top, nodes = join_levels(hashes, PIECE_LEVELS, 0, above)
        if seal_root(self.entries, top[0]) != self.state_root:
            raise Rejected(Rejection.BAD_ROOT, "the hashes of the pieces are not of this state")
        return hashes, nodes

    def _check_authorities(self, items: tuple[StateItem, ...]) -> None:
        for item in items:
            if item.key == AUTHORITIES_KEY:
                entry = item.entry
                if not isinstance(entry, Authorities) or entry.current != self._authorities:
                    raise Rejected(Rejection.MALFORMED, "the state names another authority set")


def read_whole_state(reader: SnapshotReader) -> MemoryState:
    """Return the state of a snapshot in memory, to replay blocks on. Raises `Rejected`."""
    state = MemoryState()
    changes = Changes(state)
    for piece in reader.iterate_pieces():
        for key, entry in piece.items:
            changes.put(key, entry)
    assert changes.compute_root() == reader.state_root, "every piece was checked against it"
    state.commit(changes)
    return state
