import msgspec
import pytest

from ledger import codec
from ledger.outcomes import Event, Outcome
from ledger.rejection import Rejected
from tests.ledger.samples import EVENTS, fill

LIMIT = 10_000


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_reads_back_as_its_own_kind(event: Event) -> None:
    outcome = Outcome(fill("subject"), 0, 1, (event,))
    assert codec.decode(codec.encode(outcome), Outcome, LIMIT) == outcome
    assert codec.encode(outcome) != codec.encode(Outcome(fill("subject"), 0, 1, ()))


def test_kinds_have_the_numbers_of_the_page() -> None:
    assert [event.__struct_config__.tag for event in EVENTS] == list(range(1, 13))


def test_a_status_that_does_not_exist_is_refused() -> None:
    ended = msgspec.structs.replace(EVENTS[4], status=9)
    with pytest.raises(Rejected):
        codec.decode(codec.encode(Outcome(fill("subject"), 0, 1, (ended,))), Outcome, LIMIT)
