"""Bringing an authority's proved offence onto the chain (rules C18 and A-series of the ledger).

Everybody who saw it reports it, one after the other: the first transaction removes the offender,
and whoever sees that done sends nothing.
"""

import asyncio

import structlog

from consensus.evidence import Evidence, build_evidence_payload
from consensus.verification import Committee
from ledger import codec, crypto
from ledger.rejection import Rejected
from ledger.state import get_authorities
from ledger.transactions import EquivocationEvidence, compute_size, sign_transaction
from node.chain_port import ChainPort

TURN_SECONDS = 2.0
"""How long each waits for the one before it."""

RETRY_SECONDS = 10.0
MAX_TRIES = 30
VALID_HEIGHTS = 1_000

log = structlog.get_logger()


class EvidenceReporter:
    """Signs with the node's own key, whose account pays the fee."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._key = crypto.compute_public_key(seed)
        self._reports: asyncio.Queue[tuple[EquivocationEvidence, int]] = asyncio.Queue()

    def report(self, evidence: Evidence, committee: Committee) -> None:
        """Begin to report an offence."""
        payload = build_evidence_payload(evidence, committee)
        log.error("an authority broke the rules", authority=payload.offender.hex())
        self._reports.put_nowait((payload, committee.get_index(self._key) or 0))

    async def run(self, port: ChainPort) -> None:
        """Send what is reported until cancelled; one report at a time."""
        while True:
            payload, turn = await self._reports.get()
            await asyncio.sleep(turn * TURN_SECONDS)
            await self._send(port, payload)

    async def _send(self, port: ChainPort, payload: EquivocationEvidence) -> None:
        for _ in range(MAX_TRIES):
            if not _is_member(port, payload.offender):
                return
            (verdict,) = await port.submit([self._sign(port, payload)])
            if isinstance(verdict, Rejected):
                log.warning("evidence not accepted", reason=verdict.reason.name)
            await asyncio.sleep(RETRY_SECONDS)

    def _sign(self, port: ChainPort, payload: EquivocationEvidence) -> bytes:
        transaction = sign_transaction(
            self._seed,
            port.chain_id,
            port.get_next_nonce(crypto.compute_address(self._key)),
            compute_size(payload) * port.parameters.minimum_fee_rate,
            port.get_head().height + VALID_HEIGHTS,
            payload,
        )
        return codec.encode(transaction)


def _is_member(port: ChainPort, key: bytes) -> bool:
    following = get_authorities(port.get_view()).following
    return any(member.key == key for member in following.members)
