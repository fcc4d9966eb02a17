"""Decides the nonce of each of the miner's transactions, one at a time.

A nonce that was refused is free again, so the next transaction is signed only when the fate of the
one before it is known. After a lost answer the same bytes are sent again; new bytes are signed only
when the node says that the nonce has gone to another transaction, or that those bytes can never
enter a block.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from aitbc.client import AsyncAITBCClient
from aitbc.errors import AITBCError, APIError, InvalidAnswerError, NotFoundError
from aitbc.models import ChainStatus
from aitbc.wallet import HIGHEST_FEE_RATE, SignedTransaction, Wallet
from ledger.rejection import Rejection
from ledger.transactions import Payload

T = TypeVar("T")

ATTEMPTS: Final = 4
VALIDITY_HEIGHTS: Final = 2_000
"""For how many heights what we sign may enter a block: over a quarter of an hour at full pace."""
STATUS_SECONDS: Final = 60.0

_NONCE_TAKEN: Final = frozenset({Rejection.NONCE_USED, Rejection.REPLACEMENT_UNDERPRICED})
_NEVER_ENTERS: Final = frozenset({
    Rejection.NONCE_GAP,
    Rejection.VALIDITY_OVER,
    Rejection.VALIDITY_TOO_LONG,
    Rejection.FEE_TOO_LOW,
})  # fmt: skip


class ChainFacts(NamedTuple):
    """What signing needs to know of the chain, as the node said."""

    chain_id: bytes
    height: int
    fee_rate: int
    validity: int
    key_id: bytes
    """Id of the verifying key that settlements are checked with."""
    read_at: float


class TransactionSender:
    """Signs and sends for one account."""

    def __init__(self, client: AsyncAITBCClient, wallet: Wallet) -> None:
        self._client = client
        self._wallet = wallet
        self._turn = asyncio.Lock()
        self._next_nonce: int | None = None
        self._facts: ChainFacts | None = None
        self._chain_id: bytes | None = None

    async def read_facts(self) -> ChainFacts:
        """Return the chain's facts, at most a minute old.

        Raises `AITBCError`: also where a node names another chain than before, or too high a fee.
        """
        now = time.monotonic()
        if self._facts is None or now - self._facts.read_at > STATUS_SECONDS:
            facts = _read_status(await self._client.chain.get_status(), now)
            if self._chain_id not in (None, facts.chain_id):
                raise InvalidAnswerError("the node is on another chain than before")
            self._chain_id, self._facts = facts.chain_id, facts
        return self._facts

    async def send(
        self,
        payload: Payload,
        deliver: Callable[[SignedTransaction], Awaitable[T]],
        previous: SignedTransaction | None = None,
    ) -> T:
        """Sign the payload, hand it to `deliver` and return what that returned.

        `previous` is the same payload as it was signed before a lost answer: it goes first.
        Raises `AITBCError`; whether the transaction was taken is then for the caller to find out,
        by sending it again.
        """
        async with self._turn:
            signed = previous
            for attempt in range(1, ATTEMPTS + 1):
                if signed is None:
                    signed = await self._sign(payload)
                try:
                    answer = await deliver(signed)
                except AITBCError as error:
                    # A refusal by the chain has used the nonce, one before it has not.
                    self._next_nonce = None
                    if attempt == ATTEMPTS or not await self._is_out_of_play(signed, error):
                        raise
                    signed = self._facts = None
                else:
                    if signed is not previous:
                        self._next_nonce = signed.nonce + 1
                    return answer
            raise AssertionError("the last attempt returns or raises")

    async def _sign(self, payload: Payload) -> SignedTransaction:
        facts = await self.read_facts()
        if self._next_nonce is None:
            account = await self._client.chain.get_account(self._wallet.text_address)
            self._next_nonce = account.pending_nonce
        return self._wallet.sign(
            payload,
            chain_id=facts.chain_id,
            nonce=self._next_nonce,
            fee_rate=facts.fee_rate,
            valid_until=facts.height + facts.validity,
        )

    async def _is_out_of_play(self, signed: SignedTransaction, error: AITBCError) -> bool:
        """Tell whether a refused transaction can never be in a block, so that another may be."""
        if not isinstance(error, APIError):
            return False
        if error.rejection in _NEVER_ENTERS:
            return True
        if error.rejection not in _NONCE_TAKEN:
            return False
        try:
            await self._client.chain.get_transaction(f"tx_{signed.id.hex()}")
        except NotFoundError:
            return True
        return False  # it is this one that took the nonce


def _read_status(status: ChainStatus, now: float) -> ChainFacts:
    if not 0 <= status.minimum_fee_rate <= HIGHEST_FEE_RATE:
        raise InvalidAnswerError(f"the node asks for {status.minimum_fee_rate} base units a byte")
    try:
        return ChainFacts(
            chain_id=bytes.fromhex(status.chain_id),
            height=status.height,
            fee_rate=status.minimum_fee_rate,
            validity=min(VALIDITY_HEIGHTS, status.maximum_validity),
            key_id=bytes.fromhex(status.proof_key_id),
            read_at=now,
        )
    except ValueError as error:
        raise InvalidAnswerError(f"not the status of a chain: {error}") from None
