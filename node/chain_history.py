"""What happened on the chain, found by transaction, account, block, job, claim or settlement.

Lists go from the newest to the oldest and are continued with `before`, the position (for claims the
number) of the last item.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection

from coordinator.ports import FinalBlock, Located
from ledger.outcomes import JobSettled, Outcome, iterate_job_events
from ledger.state import StateView, get_miner
from node import block_rows
from node.claim_history import Claim, read_claims
from node.database import Database
from node.history_index import HistoryIndex
from node.history_terms import SETTLEMENTS, Kind, compute_claim_term
from node.sorted_tail import compute_term
from node.sqlcipher import RawConnection, get_raw
from node.tables import SLOT_BITS

T = TypeVar("T")

MAX_LISTED: Final = 1_000
"""The most items that one list returns, whatever was asked for."""


class PlacedTransaction(msgspec.Struct, frozen=True):
    """A final transaction and its block. `time` in milliseconds."""

    position: int
    block_hash: bytes
    time: int
    located: Located


class SettledJob(msgspec.Struct, frozen=True):
    """A settlement, with the transaction that made it. `time` in milliseconds."""

    position: int
    height: int
    time: int
    transaction_id: bytes
    event: JobSettled


class JobStep(msgspec.Struct, frozen=True):
    """An outcome that touched a job; `outcome.subject` is the job's own id at a deadline."""

    position: int
    height: int
    time: int
    outcome: Outcome


class ChainHistory:
    """Questions about final blocks. Called from the event loop; the reading is done in threads."""

    def __init__(self, database: Database, index: HistoryIndex, state: StateView) -> None:
        self._database = database
        self._index = index
        self._state = state

    async def find_transaction(self, transaction_id: bytes) -> Located | None:
        """Return where a transaction became final."""
        lookup = self._index.look_up(compute_term(Kind.TRANSACTION, transaction_id))

        def find(raw: RawConnection) -> Located | None:
            for position in lookup.iterate(raw):
                located = block_rows.read_located(raw, position)
                if located is not None and located.outcome.subject == transaction_id:
                    return located
            return None

        return await self._read(find)

    async def get_located(self, position: int) -> Located | None:
        """Return the final transaction at a position that a list gave."""
        return await self._read(lambda raw: block_rows.read_located(raw, position))

    async def find_block(self, block_hash: bytes) -> FinalBlock | None:
        """Return a final block by its hash."""
        lookup = self._index.look_up(compute_term(Kind.BLOCK, block_hash))

        def find(raw: RawConnection) -> FinalBlock | None:
            for position in lookup.iterate(raw):
                for block in block_rows.read_blocks(raw, position >> SLOT_BITS, 1):
                    if block.hash == block_hash:
                        return block
            return None

        return await self._read(find)

    async def list_transactions(self, before: int | None, limit: int) -> list[PlacedTransaction]:
        """Return the newest transactions below a position."""
        return await self._read(
            lambda raw: _place_transactions(
                raw, block_rows.iterate_transaction_positions(raw, before), limit
            )
        )

    async def list_account_transactions(
        self, address: bytes, before: int | None, limit: int
    ) -> list[PlacedTransaction]:
        """Return the newest transactions that an account sent or that moved its money."""
        lookup = self._index.look_up(compute_term(Kind.ACCOUNT, address))
        return await self._read(
            lambda raw: _place_transactions(raw, lookup.iterate(raw, before), limit)
        )

    async def list_offer_transactions(
        self, offer: bytes, before: int | None, limit: int
    ) -> list[PlacedTransaction]:
        """Return the newest transactions that made, withdrew or accepted an offer."""
        lookup = self._index.look_up(compute_term(Kind.OFFER, offer))
        return await self._read(
            lambda raw: _place_transactions(raw, lookup.iterate(raw, before), limit)
        )

    async def list_settlements(self, before: int | None, limit: int) -> list[SettledJob]:
        """Return the newest settlements."""
        lookup = self._index.look_up(SETTLEMENTS)

        def collect(raw: RawConnection) -> list[SettledJob]:
            return [
                SettledJob(step.position, step.height, step.time, step.outcome.subject, event)
                for step in _take(_iterate_steps(raw, lookup.iterate(raw, before)), limit)
                for event in step.outcome.events
                if isinstance(event, JobSettled)
            ]

        return await self._read(collect)

    def find_settlement_positions(self, limit: int) -> tuple[int, list[int]]:
        """Return how many settlements there are, and the positions of up to `limit` of them.

        Spread evenly, from the newest to the oldest, both among them; for commands, since it reads
        where it is called.
        """
        lookup = self._index.look_up(SETTLEMENTS)

        def find(connection: Connection) -> tuple[int, list[int]]:
            raw = get_raw(connection)
            count = sum(1 for _ in lookup.iterate(raw))
            chosen = set(_spread(count, limit))
            positions = enumerate(lookup.iterate(raw))
            return count, [position for number, position in positions if number in chosen]

        return self._database.read_now(find)

    async def list_job_steps(self, job: bytes) -> list[JobStep]:
        """Return every outcome that touched a job, from the oldest to the newest."""
        lookup = self._index.look_up(compute_term(Kind.JOB, job))
        steps = await self._read(
            lambda raw: _take(_iterate_steps(raw, lookup.iterate(raw)), MAX_LISTED)
        )
        return [step for step in reversed(steps) if _touches(step.outcome, job)]

    async def list_claims(self, miner: str, before: int | None, limit: int) -> list[Claim]:
        """Return a miner's claims by their gapless numbers, from the newest to the oldest."""
        entry = get_miner(self._state, miner)
        newest = entry.claims if entry else 0
        first = newest if before is None else min(newest, before - 1)
        numbers = range(first, max(0, first - min(limit, MAX_LISTED)), -1)
        lookups = {
            number: self._index.look_up(compute_claim_term(miner, number)) for number in numbers
        }
        return await self._read(lambda raw: read_claims(raw, miner, lookups))

    async def _read(self, work: Callable[[RawConnection], T]) -> T:
        def read(connection: Connection) -> T:
            return work(get_raw(connection))

        return await self._database.read(read)


def _take(items: Iterable[T], limit: int) -> list[T]:
    return list(islice(items, max(0, min(limit, MAX_LISTED))))


def _spread(count: int, limit: int) -> list[int]:
    """Return up to `limit` of the numbers below `count`, evenly apart, the first and last too."""
    if limit >= count:
        return list(range(count))
    return [number * (count - 1) // max(1, limit - 1) for number in range(limit)]


def _place_transactions(
    raw: RawConnection, positions: Iterator[int], limit: int
) -> list[PlacedTransaction]:
    placed = []
    for position in _take(positions, limit):
        located = block_rows.read_located(raw, position)
        assert located is not None
        block_hash, time = block_rows.read_place(raw, located.height)
        placed.append(PlacedTransaction(position, block_hash, time, located))
    return placed


def _iterate_steps(raw: RawConnection, positions: Iterable[int]) -> Iterator[JobStep]:
    for position in positions:
        height = position >> SLOT_BITS
        _, time = block_rows.read_place(raw, height)
        yield JobStep(position, height, time, block_rows.read_outcome(raw, position))


def _touches(outcome: Outcome, job: bytes) -> bool:
    return any(event.job == job for event in iterate_job_events(outcome))
