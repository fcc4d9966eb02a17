"""Asks other coordinators about their jobs, each question with one typed answer (rules H1 to H3).

Whatever comes back is another's word: an answer that is none, or is to another question, counts as
no answer at all.
"""

import asyncio
from typing import Final, TypeVar

import structlog

from coordinator.coordinator import Coordinator
from coordinator.ports import Unreachable
from coordinator.relay_messages import (
    Answer,
    Describe,
    Described,
    Offer,
    Question,
    Refusal,
    Refused,
    decode_answer,
)
from ledger import codec
from ledger.crypto import compute_address
from ledger.rejection import Rejected

log = structlog.get_logger(__name__)

DESCRIBE_SECONDS: Final = 2.0
"""How long a look for work waits for a coordinator that is slow."""
ASK_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 2.0
"""What a coordinator gets that did not answer the last time."""
MAX_HOMES: Final = 16
"""Coordinators that one look for work asks."""

A = TypeVar("A", bound=Answer)


class NoRelay:
    """The relay of a node without a network: nobody else is there."""

    async def ask(self, coordinator: bytes, data: bytes, timeout: float) -> bytes:
        raise Unreachable("this node is connected to no other")


class HomeRefused(Exception):
    """A job's coordinator said no, for one reason."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.refusal.name}: {refused.detail}")
        self.refusal: Refusal = refused.refusal
        self.detail = refused.detail


async def ask_home(
    coordinator: Coordinator,
    home: bytes,
    question: Question,
    kind: type[A],
    timeout: float = ASK_SECONDS,
) -> A:
    """Return the answer of one kind. Raises `Unreachable`, `HomeRefused`."""
    loop = asyncio.get_running_loop()
    if coordinator.foreign.get_home(home).silence:
        timeout = min(timeout, SILENT_SECONDS)
    try:
        data = await coordinator.relay.ask(home, codec.encode(question), timeout)
        answer = decode_answer(data)
    except Unreachable:
        coordinator.foreign.note_silence(home, loop.time())
        raise
    except Rejected as rejected:
        coordinator.foreign.note_silence(home, loop.time())
        raise Unreachable(f"no answer that can be read: {rejected.reason.name}") from None
    if isinstance(answer, Refused):
        if answer.refusal is Refusal.BUSY:
            coordinator.foreign.note_silence(home, loop.time())
        raise HomeRefused(answer)
    if not isinstance(answer, kind):
        coordinator.foreign.note_silence(home, loop.time())
        raise Unreachable("an answer to another question")
    coordinator.foreign.note_answer(home)
    return answer


async def describe_missing(coordinator: Coordinator) -> None:
    """Learn what the queued jobs of others ask for, as far as their coordinators are there."""
    now = asyncio.get_running_loop().time()
    homes = list(coordinator.foreign.list_missing(now))[:MAX_HOMES]
    await asyncio.gather(*(_describe_home(coordinator, home) for home in homes))


async def _describe_home(coordinator: Coordinator, home: bytes) -> None:
    # Of many that look for work at once, one asks.
    async with coordinator.job_locks.get(b"home:" + home):
        now = asyncio.get_running_loop().time()
        jobs = coordinator.foreign.list_missing(now).get(home)
        if jobs:
            try:
                await describe(coordinator, home, jobs)
            except Unreachable as error:
                log.info("coordinator silent", coordinator=home.hex(), reason=str(error))
            except HomeRefused as error:
                log.info("jobs not described", coordinator=home.hex(), reason=str(error))
                coordinator.foreign.note_offers(home, jobs, (), now)


async def describe(coordinator: Coordinator, home: bytes, jobs: list[bytes]) -> dict[bytes, Offer]:
    """Return what a coordinator says now of jobs that it knows. Raises `Unreachable`,
    `HomeRefused`.
    """
    loop = asyncio.get_running_loop()
    question = Describe(tuple(jobs))
    answer = await ask_home(coordinator, home, question, Described, DESCRIBE_SECONDS)
    if compute_address(answer.key) != home:
        coordinator.foreign.note_silence(home, loop.time())
        raise Unreachable("an answer in another coordinator's name")
    coordinator.foreign.get_home(home).key = answer.key
    coordinator.foreign.note_offers(home, jobs, answer.offers, loop.time())
    return {offer.job: offer for offer in answer.offers}


async def find_key(coordinator: Coordinator, home: bytes, job_id: bytes) -> bytes:
    """Return the Ed25519 key of a job's coordinator. Raises `Unreachable`, `HomeRefused`."""
    if coordinator.foreign.get_home(home).key is None:
        await describe(coordinator, home, [job_id])
    key = coordinator.foreign.get_home(home).key
    assert key is not None
    return key
