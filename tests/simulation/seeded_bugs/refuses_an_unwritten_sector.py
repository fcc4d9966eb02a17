"""A last frame of which only later sectors reached the disk is taken for damage in the middle."""

from consensus.journal import DecodedJournal, JournalDamaged, decode_journal
from tests.simulation.variant import Variant


def _decode(data: bytes, chain_id: bytes, key: bytes) -> DecodedJournal | None:
    journal = decode_journal(data, chain_id, key)
    torn = b"" if journal is None else data[journal.length :]
    if not any(torn[:4]) and any(torn):
        raise JournalDamaged("a frame without its length")
    return journal


VARIANT = Variant(decode=_decode)
