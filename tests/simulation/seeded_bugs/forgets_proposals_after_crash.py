"""A restart reads the own votes in the journal, and not the own proposals."""

from consensus.journal import DecodedJournal
from consensus.sign_state import SignState
from tests.simulation.variant import Variant


class _SignState(SignState):
    @classmethod
    def restore(cls, journal: DecodedJournal) -> "SignState":
        state = cls(journal.head, journal.entries)
        state._proposals.clear()
        return state


VARIANT = Variant(sign_state=_SignState)
