"""Nonces: one at a time, the same bytes after a lost answer, new ones only when that is safe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aitbc.client import AsyncAITBCClient
from aitbc.errors import APIError, ConflictError, ConnectionFailedError, InvalidAnswerError
from aitbc.exchange import RetryPolicy
from aitbc.wallet import SignedTransaction
from ledger.transactions import Transfer, decode_transaction
from miner.sender import TransactionSender
from tests.support.contract_server import CLIENT, MINER, ContractServer

PAYLOAD = Transfer(CLIENT.address, 1)


class Desk:
    """A sender, and what it handed over."""

    def __init__(self, server: ContractServer, client: AsyncAITBCClient) -> None:
        self.server = server
        self.client = client
        self.sender = TransactionSender(client, MINER)
        self.sent: list[SignedTransaction] = []

    async def deliver(self, signed: SignedTransaction) -> int:
        self.sent.append(signed)
        self.server.apply(signed.raw)
        return signed.nonce


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    server = ContractServer()
    async with server.serve():
        retries = RetryPolicy(attempts=1)
        async with AsyncAITBCClient(server.url, retries=retries) as client:
            yield Desk(server, client)


async def refuse(signed: SignedTransaction) -> None:
    raise build_refusal("JOB_NOT_QUEUED", 133)


def build_refusal(code: str, rejection: int) -> APIError:
    return ConflictError(409, code, "why", {"rejection": rejection})


async def test_transactions_of_one_account_follow_each_other() -> None:
    async with open_desk() as desk:
        sends = [desk.sender.send(PAYLOAD, desk.deliver) for _ in range(5)]
        assert await asyncio.gather(*sends) == [0, 1, 2, 3, 4]
        assert desk.server.asked.count("get_account") == 1


async def test_a_refused_nonce_is_used_by_the_next() -> None:
    async with open_desk() as desk:
        with pytest.raises(ConflictError):
            await desk.sender.send(PAYLOAD, refuse)
        assert await desk.sender.send(PAYLOAD, desk.deliver) == 0


async def test_a_transaction_that_failed_in_a_block_has_used_its_nonce() -> None:
    async with open_desk() as desk:

        async def apply_and_refuse(signed: SignedTransaction) -> None:
            await desk.deliver(signed)
            await refuse(signed)

        with pytest.raises(ConflictError):
            await desk.sender.send(PAYLOAD, apply_and_refuse)
        assert await desk.sender.send(PAYLOAD, desk.deliver) == 1


async def test_after_a_lost_answer_the_same_bytes_go_first() -> None:
    async with open_desk() as desk:

        async def lose(signed: SignedTransaction) -> None:
            await desk.deliver(signed)
            raise ConnectionFailedError("cut", is_sent=True)

        with pytest.raises(ConnectionFailedError):
            await desk.sender.send(PAYLOAD, lose)
        assert await desk.sender.send(PAYLOAD, desk.deliver, desk.sent[0]) == 0
        assert desk.sent[0] == desk.sent[1]
        assert await desk.sender.send(PAYLOAD, desk.deliver) == 1


@pytest.mark.parametrize(
    ("code", "rejection"), [("NONCE_USED", 8), ("NONCE_GAP", 9), ("VALIDITY_OVER", 10)]
)
async def test_what_can_never_be_in_a_block_is_signed_again(code: str, rejection: int) -> None:
    async with open_desk() as desk:
        refused: list[SignedTransaction] = []

        async def deliver(signed: SignedTransaction) -> int:
            if not refused:
                refused.append(signed)
                desk.server.send(MINER, PAYLOAD)  # another process with this key
                raise build_refusal(code, rejection)
            return await desk.deliver(signed)

        assert await desk.sender.send(PAYLOAD, deliver) == 1
        assert refused[0].nonce == 0


async def test_a_used_nonce_that_is_our_own_is_not_signed_again() -> None:
    async with open_desk() as desk:

        async def apply_and_refuse(signed: SignedTransaction) -> None:
            await desk.deliver(signed)
            raise build_refusal("NONCE_USED", 8)

        with pytest.raises(ConflictError):
            await desk.sender.send(PAYLOAD, apply_and_refuse)
        assert len(desk.sent) == 1


async def test_attempts_end() -> None:
    async with open_desk() as desk:
        seen: list[int] = []

        async def never(signed: SignedTransaction) -> None:
            seen.append(signed.nonce)
            raise build_refusal("NONCE_GAP", 9)

        with pytest.raises(ConflictError):
            await desk.sender.send(PAYLOAD, never)
        assert seen == [0, 0, 0, 0]


async def test_fee_and_validity_are_the_chains() -> None:
    async with open_desk() as desk:
        await desk.sender.send(PAYLOAD, desk.deliver)
        transaction = decode_transaction(desk.sent[0].raw)
        assert transaction.fee >= 10 * len(desk.sent[0].raw)
        assert transaction.valid_until == 2_000


@pytest.mark.parametrize(
    "lie",
    [{"minimum_fee_rate": 10**15}, {"minimum_fee_rate": -1}, {"chain_id": "zz"}],
)
async def test_nothing_is_signed_by_a_node_that_asks_for_the_whole_balance(
    lie: dict[str, Any],
) -> None:
    async with open_desk() as desk:
        desk.server.status_changes = lie
        with pytest.raises(InvalidAnswerError):
            await desk.sender.send(PAYLOAD, desk.deliver)
        assert desk.sent == []


async def test_nothing_is_signed_for_another_chain_than_at_first() -> None:
    async with open_desk() as desk:

        async def move_and_refuse(signed: SignedTransaction) -> None:
            desk.sent.append(signed)
            desk.server.status_changes = {"chain_id": "00" * 32}
            raise build_refusal("NONCE_GAP", 9)

        with pytest.raises(InvalidAnswerError):
            await desk.sender.send(PAYLOAD, move_and_refuse)
        assert len(desk.sent) == 1
