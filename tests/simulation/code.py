"""What a simulated driver runs: the shipped classes and functions, unless a bug is seeded."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.journal import DecodedJournal, decode_journal
from consensus.machine import Consensus
from consensus.messages import Message
from consensus.restored import Restored
from consensus.sign_state import SignState
from consensus.timing import Timing
from consensus.verification import Committee, VerifiedMessage, verify

MachineFactory = Callable[[Committee, bytes | None, Timing, Restored], Consensus]
MessageCheck = Callable[[Message, Committee], VerifiedMessage]
JournalDecoder = Callable[[bytes, bytes, bytes], DecodedJournal | None]


@dataclass(frozen=True)
class Code:
    """All of it but the driver itself."""

    machine: MachineFactory = Consensus
    sign_state: type[SignState] = SignState
    decode: JournalDecoder = decode_journal
    verify: MessageCheck = verify
    is_synced: bool = True
    """Whether the driver makes a signature durable before it leaves."""
