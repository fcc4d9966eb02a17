"""Going back to an earlier final block, so that what a fault spoilt is fetched and made anew.

The blocks up to the height are checked and executed again from the base, everything above them is
dropped, and the state that follows replaces the stored one, in one transaction. What this node's
key has signed stays: the journal is not touched, and the store keeps the number of signatures that
it has seen. So the folder is then what a crash right after that block could have left, and it may
go back no further than the journal, record by record, makes that true (rule C11).
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from consensus.journal import JournalDamaged, SignedProposal, SignedVote, decode_journal
from consensus.sign_state import SignState, SignStateRefused, check_sign_state
from coordinator.ports import FinalBlock
from genesis.document import Genesis, compute_chain_id
from ledger.blocks import Header
from ledger.state import MemoryState, get_authorities
from node import block_rows, chain_base, folder, history_index, mempool_rows, sqlcipher
from node.chain_store import naming_damage
from node.database_errors import DatabaseDamaged, WrongChain
from node.exit_codes import ExitCode, OperatorError
from node.settings import NodeSettings
from node.snapshot_restore import read_base
from node.sqlcipher import RawConnection
from node.state_writer import StateWriter
from node.verify_chain import Replayed, replay
from node.vote_journal import JournalRefused

ENTRIES_PER_STEP: Final = 4_096
_BLOCKS_PER_STEP: Final = 64


class RollbackRefused(OperatorError):
    """The journal no longer holds what this node's key signed above that block."""

    exit_code = ExitCode.ROLLBACK_REFUSED


class HeightRefused(OperatorError):
    """The store has no block at that height."""

    exit_code = ExitCode.CONFIGURATION


class RolledBack(NamedTuple):
    """Where the chain stands, and what was done with the blocks that were above it."""

    head: Header
    removed_blocks: int
    waiting_again: int
    """Transactions of those blocks that wait in the mempool again."""
    entries: int


def roll_back(
    settings: NodeSettings,
    genesis: Genesis,
    public_key: bytes,
    height: int,
    on_block: Callable[[int], None] = lambda _height: None,
) -> RolledBack:
    """Make the block at a height the head again; `public_key` is the node's own.

    The caller holds the folder's lock. Raises `RollbackRefused`, `HeightRefused`, `JournalRefused`,
    `ChainDamaged` where a block up to the height does not hold, and the classes of
    node/database_errors.py; nothing was changed then.
    """
    key = folder.find_database_key(settings)
    # Tables that this version adds are made by opening it.
    folder.open_database(settings, genesis).close_now()
    path, room = settings.get_database_path(), settings.mempool_transactions
    raw = sqlcipher.connect(path, key, is_reader=False, is_alone=True)
    try:
        with naming_damage(path):
            raw.execute("begin immediate")
            target = _find_target(raw, path, compute_chain_id(genesis), height)
            stored_sequence = block_rows.read_sign_sequence(raw)
            check_signatures(
                settings.data / folder.JOURNAL_FILE, public_key, stored_sequence, target
            )
            base = read_base(settings.data, genesis, chain_base.read_base_height(raw))
            chain_base.drop_successions(raw, get_authorities(base.state).current.epoch)
            blocks = _iterate_blocks(raw, base.block.header.height, height)
            replayed = replay(base, blocks, genesis, on_block)
            if replayed.head != target:
                raise DatabaseDamaged(f"{path} lacks a block below {height}")
            done = _write(raw, replayed, 0 if settings.mempool_backend == "memory" else room)
            raw.execute("commit")
            raw.execute("pragma wal_checkpoint(truncate)").fetchone()
            return done
    finally:
        raw.close()


def check_signatures(path: Path, public_key: bytes, stored_sequence: int, target: Header) -> None:
    """Refuse to go back to a block above which the journal no longer holds every signature.

    Raises `JournalRefused` as a start of the node does, and `RollbackRefused`.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
        journal = decode_journal(data, target.chain_id, public_key)
        state = SignState.restore(journal) if journal else None
        check_sign_state(state.sequence if state else None, stored_sequence)
    except (JournalDamaged, SignStateRefused) as error:
        raise JournalRefused(f"{path}: {error}") from None
    if journal is None:
        return
    head = journal.head
    if (head.epoch, head.view) > (target.epoch, target.view):
        raise RollbackRefused(
            f"the journal holds this key's signatures from view {head.view + 1} of epoch "
            f"{head.epoch} on; block {target.height} is of view {target.view} of epoch "
            f"{target.epoch}, and what was signed between is not to be signed again"
        )
    if head.sequence > 0 and (head.epoch, head.view) == (0, 0):
        raise RollbackRefused(
            f"the first {head.sequence} signatures of this key were given up: the journal does not "
            "tell what they were"
        )
    epoch = target.epoch + chain_base.is_closing(target)
    signed = [_get_epoch(e) for e in journal.entries if isinstance(e, SignedVote | SignedProposal)]
    if max(signed, default=0) > epoch:
        raise RollbackRefused(
            f"this key has signed in epoch {max(signed)}; after block {target.height} comes a "
            f"block of epoch {epoch}"
        )


def _get_epoch(entry: SignedVote | SignedProposal) -> int:
    if isinstance(entry, SignedVote):
        return entry.vote.ballot.epoch
    return entry.proposal.block.header.epoch


def _find_target(raw: RawConnection, path: Path, chain_id: bytes, height: int) -> Header:
    head, base = block_rows.read_head(raw), chain_base.read_base_height(raw)
    if head is None:
        raise DatabaseDamaged(f"the database {path} holds no chain")
    if head[0].chain_id != chain_id:
        raise WrongChain(f"{path} holds the chain {head[0].chain_id.hex()}, not {chain_id.hex()}")
    if not base <= height <= head[0].height:
        raise HeightRefused(f"the chain in {path} goes from block {base} to {head[0].height}")
    found = block_rows.read_blocks(raw, height, 1)
    if not found:
        raise DatabaseDamaged(f"{path} lacks block {height}")
    return found[0].header


def _iterate_blocks(raw: RawConnection, first: int, last: int) -> Iterator[FinalBlock]:
    while first <= last:
        blocks = block_rows.read_blocks(raw, first, min(_BLOCKS_PER_STEP, last - first + 1))
        if not blocks:
            return
        yield from blocks
        first = blocks[-1].header.height + 1


def _write(raw: RawConnection, replayed: Replayed, room: int) -> RolledBack:
    """Drop what is above the replayed head and write its state, inside the transaction."""
    head, state = replayed.head, replayed.state
    waiting = mempool_rows.count_waiting(raw)
    again = list(islice(block_rows.iterate_bodies(raw, head.height + 1), max(0, room - waiting)))
    mempool_rows.insert_before(raw, again)
    removed = block_rows.drop_above(raw, head.height)
    history_index.drop_above(raw, head.height)
    chain_base.write_successions(raw, replayed.successions)
    _write_state(raw, state, head.height)
    return RolledBack(head, removed, len(again), len(state.leaves))


def _write_state(raw: RawConnection, state: MemoryState, height: int) -> None:
    writer, keys = StateWriter(raw), list(state.leaves)
    for start in range(0, len(keys), ENTRIES_PER_STEP):
        step = keys[start : start + ENTRIES_PER_STEP]
        writer.add([(key, state.entries[key]) for key in step], {})
    writer.add((), state.nodes)
    writer.finish(height)
