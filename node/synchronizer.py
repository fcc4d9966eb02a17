"""Fetching what this node lacks: single blocks by hash, and final blocks in ranges (rule C12).

It only fetches. What comes is checked and committed by the driver, the one place where the chain
grows, and a peer whose blocks do not hold is not asked again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from consensus.messages import CommittedBlock
from consensus.verification import VerifiedBlock, verify_block
from ledger.rejection import Rejected
from node.chain import Chain
from node.peer_messages import (
    BlockRequest,
    RangeRequest,
    decode_fetched_block,
    decode_range,
    encode_question,
)
from node.peers import Peers
from p2p.interface import AskFailed

ANSWER_SECONDS = 10.0
"""How long an answer may take before another peer is asked; an answer has at most 8 MiB."""

BLOCK_SECONDS = 2.0
PROGRESS_SECONDS = 2.0

log = structlog.get_logger()

TakeRange = Callable[[Sequence[CommittedBlock]], Awaitable[None]]
"""Checks and commits final blocks, in order. Raises `Rejected`."""


class Synchronizer:
    """One catch-up at a time, and one fetch of each block."""

    def __init__(self, peers: Peers, chain: Chain) -> None:
        self._peers = peers
        self._chain = chain
        self._is_wanted = asyncio.Event()
        self._fetching: dict[bytes, asyncio.Task[None]] = {}
        self._said_at = 0.0

    def seek(self) -> None:
        """Fetch final blocks as soon as a peer claims some; cheap to call often."""
        self._is_wanted.set()

    async def run(self, take_range: TakeRange) -> None:
        """Catch up whenever it is wanted, until cancelled."""
        try:
            while True:
                await self._is_wanted.wait()
                self._is_wanted.clear()
                await self._catch_up(take_range)
        finally:
            for task in self._fetching.values():
                task.cancel()

    def fetch_block(
        self,
        block_hash: bytes,
        holders: Sequence[bytes],
        on_block: Callable[[VerifiedBlock], None],
    ) -> None:
        """Ask the nodes with these keys for a block, one after the other."""
        if block_hash not in self._fetching:
            task = asyncio.create_task(self._fetch_block(block_hash, holders, on_block))
            self._fetching[block_hash] = task
            task.add_done_callback(lambda _: self._fetching.pop(block_hash, None))

    async def _catch_up(self, take_range: TakeRange) -> None:
        tried: set[int] = set()
        while (source := self._peers.find_source(self._chain.head.height, tried)) is not None:
            before = self._chain.head.height
            try:
                await self._fetch_range(source, take_range)
            except AskFailed as error:
                log.info("range not fetched", session=source, reason=str(error))
            except Rejected as rejected:
                self._peers.punish(source, f"a range that does not hold: {rejected}")
            is_given = self._chain.head.height > before
            if is_given or self._peers.may_have(source, before + 1):
                self._peers.note_gift(source, is_given=is_given)
            if not is_given:
                tried.add(source)
            self._say_progress()

    async def _fetch_range(self, source: int, take_range: TakeRange) -> None:
        question = encode_question(RangeRequest(self._chain.head.height + 1))
        data = await self._peers.ask(source, question, ANSWER_SECONDS)
        answer = await asyncio.to_thread(decode_range, data)
        self._peers.note_range(source, answer.base, answer.height)
        if answer.blocks:
            await take_range(answer.blocks)

    async def _fetch_block(
        self,
        block_hash: bytes,
        holders: Sequence[bytes],
        on_block: Callable[[VerifiedBlock], None],
    ) -> None:
        question = encode_question(BlockRequest(block_hash))
        for number in self._peers.list_sessions(holders):
            try:
                data = await self._peers.ask(number, question, BLOCK_SECONDS)
                block = await asyncio.to_thread(_read_block, data)
            except AskFailed:
                continue
            except Rejected as rejected:
                self._peers.punish(number, f"a block that does not hold: {rejected}")
                continue
            if block.block_hash == block_hash:
                on_block(block)
                return
            self._peers.punish(number, "another block than was asked for")

    def _say_progress(self) -> None:
        now = time.monotonic()
        behind = self._peers.compute_behind_by()
        if behind and now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            log.info("catching up", height=self._chain.head.height, behind_by=behind)


def _read_block(data: bytes) -> VerifiedBlock:
    return verify_block(decode_fetched_block(data))
