"""Answering peers' questions: blocks, ranges of final blocks, and what is the coordinator's.

Each answer is bounded, few are made at a time, and a question that cannot be answered is declined.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, assert_never

from consensus.messages import CommittedBlock, decode_finality
from coordinator.ports import FinalBlock
from ledger import codec
from ledger.blocks import Block
from ledger.rejection import Rejected
from node.chain import Chain
from node.peer_messages import (
    MAX_RANGE,
    MAX_RANGE_BYTES,
    BlockRequest,
    PresenceRequest,
    RangeAnswer,
    RangeRequest,
    RelayRequest,
    decode_question,
)
from node.peers import Peers

MAX_AT_ONCE: Final = 16
"""Questions under way; further ones are declined, and asked again elsewhere."""

_STEP: Final = 32

AnswerPeer = Callable[[bytes, bytes], Awaitable[bytes | None]]
"""What the coordinator answers to (key of the asking node, question)."""


class QuestionServer:
    """`get_block` gives blocks above the head that consensus holds."""

    def __init__(
        self,
        peers: Peers,
        chain: Chain,
        get_block: Callable[[bytes], Block | None],
    ) -> None:
        self._peers = peers
        self._chain = chain
        self._get_block = get_block
        self._answer_relay: AnswerPeer | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def serve_relay(self, answer: AnswerPeer) -> None:
        """From now on, hand the coordinators' questions to ours."""
        self._answer_relay = answer

    def take(self, session: int, question: int, data: bytes) -> None:
        """Begin to answer a question."""
        if len(self._under_way) >= MAX_AT_ONCE:
            self._peers.answer(session, question, None)
            return
        task = asyncio.create_task(self._answer(session, question, data))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, session: int, question: int, data: bytes) -> None:
        asker = self._peers.get_session(session)
        if asker is None:
            return
        try:
            item = decode_question(data)
        except Rejected as rejected:
            self._peers.punish(session, f"no question: {rejected}")
            return
        match item:
            case BlockRequest(block_hash):
                answer = await self._find_block(block_hash)
            case RangeRequest(first):
                answer = await self._read_range(first)
            case RelayRequest(relayed):
                relay = self._answer_relay
                answer = await relay(asker.key, relayed) if relay else None
            case PresenceRequest():
                answer = b""
            case _:
                assert_never(item)
        self._peers.answer(session, question, answer)

    async def _find_block(self, block_hash: bytes) -> bytes | None:
        block = self._get_block(block_hash)
        if block is None:
            final = await self._chain.store.history.find_block(block_hash)
            if final is None:
                return None
            block = Block(final.header, final.transactions)
        return await asyncio.to_thread(codec.encode, block)

    async def _read_range(self, first: int) -> bytes:
        blocks: list[CommittedBlock] = []
        size = 0
        height = self._chain.head.height
        while 0 < first <= height and len(blocks) < MAX_RANGE and size < MAX_RANGE_BYTES:
            step = await self._chain.store.read_blocks(first + len(blocks), _STEP)
            for final in step:
                committed, length = await asyncio.to_thread(_commit, final)
                if size + length > MAX_RANGE_BYTES and blocks:
                    size = MAX_RANGE_BYTES
                    break
                blocks.append(committed)
                size += length
            if len(step) < _STEP:
                break
        base = self._chain.store.base_height
        answer = RangeAnswer(base, height, tuple(blocks[:MAX_RANGE]))
        return await asyncio.to_thread(codec.encode, answer)


def _commit(final: FinalBlock) -> tuple[CommittedBlock, int]:
    """Return a stored block with its proof, and about how many bytes that is."""
    block = Block(final.header, final.transactions)
    length = len(codec.encode(block)) + len(final.certificate)
    return CommittedBlock(block, decode_finality(final.certificate)), length
