"""A journal whose last frame was being written when the power went is taken for damaged."""

from consensus.journal import DecodedJournal, JournalDamaged, decode_journal
from tests.simulation.variant import Variant


def _decode(data: bytes, chain_id: bytes, key: bytes) -> DecodedJournal | None:
    journal = decode_journal(data, chain_id, key)
    if journal is not None and journal.length < len(data):
        raise JournalDamaged("the last frame is torn")
    return journal


VARIANT = Variant(decode=_decode)
