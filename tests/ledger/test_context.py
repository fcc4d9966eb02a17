import pytest

from ledger.context import credit, debit
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, get_account
from tests.ledger.world import AIT, CLIENT, STRANGER, make_key, make_world


def test_money_moves_and_the_nonce_stays() -> None:
    world = make_world()
    changes = Changes(world.state)
    debit(changes, CLIENT.address, AIT)
    credit(changes, STRANGER.address, AIT)
    assert get_account(changes, CLIENT.address).balance == 999 * AIT
    assert get_account(changes, STRANGER.address).balance == 1_001 * AIT
    debit(changes, CLIENT.address, 999 * AIT)
    assert get_account(changes, CLIENT.address).balance == 0


def test_what_is_not_there_cannot_be_taken() -> None:
    changes = Changes(make_world().state)
    for address, amount in ((CLIENT.address, 1_000 * AIT + 1), (make_key(500).address, 1)):
        with pytest.raises(Rejected) as refused:
            debit(changes, address, amount)
        assert refused.value.reason is Rejection.INSUFFICIENT_BALANCE
    assert changes.entries == {}


def test_nothing_credited_creates_no_account() -> None:
    changes = Changes(make_world().state)
    credit(changes, make_key(501).address, 0)
    assert changes.entries == {}
