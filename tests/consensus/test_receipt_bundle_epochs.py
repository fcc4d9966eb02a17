"""A receipt's bundle over epochs: two end before the job begins, two between its settlement and the
proof of its state."""

from copy import deepcopy

import msgspec
import pytest

from consensus.light_client import decode_succession
from consensus.receipt_bundle import (
    MAX_SUCCESSIONS_TEXT,
    ReceiptBundle,
    SettlementPart,
    StatePart,
    TrustAnchor,
    decode_bundle,
    encode_bundle,
    verify_bundle,
)
from genesis.document import compute_chain_id, load_verifying_key
from ledger import codec
from ledger.blocks import AuthoritySet, compute_header_hash
from ledger.receipts import decode_base64url, encode_base64url
from ledger.rejection import Rejected, Rejection
from ledger.terms import ReceiptTerms, read_opening
from tests.aitbc.cli.settled_receipt import UNITS, SettledReceipt, make_settled_receipt

replace = msgspec.structs.replace

SETTLED_EPOCH, STATE_EPOCH = 2, 4


@pytest.fixture(scope="module")
def later() -> SettledReceipt:
    return make_settled_receipt(SETTLED_EPOCH, STATE_EPOCH - SETTLED_EPOCH)


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


def read(settled: SettledReceipt) -> ReceiptBundle:
    return decode_bundle(msgspec.json.encode(settled.bundle))


def trust(settled: SettledReceipt, epoch: int) -> TrustAnchor:
    """Return the anchor of one who knows the authority set of an epoch."""
    genesis, successions = settled.chain.genesis, settled.chain.successions
    sets = [AuthoritySet(0, genesis.authorities), *(each.following for each in successions)]
    return TrustAnchor(compute_chain_id(genesis), sets[epoch], load_verifying_key(genesis))


@pytest.mark.parametrize("epoch", range(SETTLED_EPOCH + 1))
def test_it_verifies_from_genesis_and_from_every_set_up_to_its_own(
    epoch: int, later: SettledReceipt
) -> None:
    proven = verify_bundle(read(later), trust(later, epoch))
    assert (proven.epoch, proven.authorities, proven.signers) == (SETTLED_EPOCH, 3, 3)
    assert proven.opening.units == UNITS


@pytest.mark.parametrize("epoch", range(SETTLED_EPOCH + 1, STATE_EPOCH + 1))
def test_a_set_of_a_later_epoch_says_nothing_of_it(epoch: int, later: SettledReceipt) -> None:
    with pytest.raises(Rejected, match="of a later one"):
        verify_bundle(read(later), trust(later, epoch))


def test_the_file_holds_the_successions_before_its_state_alone(later: SettledReceipt) -> None:
    texts = read(later).successions
    held = [decode_succession(decode_base64url(text)) for text in texts]
    assert held == later.chain.successions
    assert [each.header.epoch for each in held] == list(range(STATE_EPOCH))


@pytest.mark.parametrize("missing", range(STATE_EPOCH))
def test_no_succession_may_be_missing(missing: int, later: SettledReceipt) -> None:
    bundle = read(later)
    texts = tuple(text for n, text in enumerate(bundle.successions) if n != missing)
    cut = replace(bundle, successions=texts)
    with pytest.raises(Rejected):
        verify_bundle(cut, trust(later, 0))
    if missing < SETTLED_EPOCH:
        assert verify_bundle(cut, trust(later, missing + 1)).epoch == SETTLED_EPOCH


def test_nor_be_too_many_out_of_order_or_of_another_chain(
    settled: SettledReceipt, later: SettledReceipt
) -> None:
    bundle = read(later)
    first, second, *others = bundle.successions
    stranger = replace(later.chain.successions[0], following=later.chain.successions[1].following)
    for texts in (
        (second, first, *others),
        (first, first, second, *others),
        (encode_base64url(codec.encode(stranger)), second, *others),
        (first[:-4], second, *others),
        ("", *bundle.successions),
        (*bundle.successions, bundle.state),
    ):
        with pytest.raises(Rejected):
            verify_bundle(replace(bundle, successions=texts), trust(later, 0))
    with pytest.raises(Rejected):
        verify_bundle(replace(read(settled), successions=(first,)), trust(settled, 0))


def test_where_not_all_fit_the_newest_stay_and_a_checkpoint_is_asked_for(
    later: SettledReceipt,
) -> None:
    true = read(later)
    opening = read_opening(true.opening, ReceiptTerms)
    settled = codec.decode(decode_base64url(true.settlement), SettlementPart, 2**20)
    state = codec.decode(decode_base64url(true.state), StatePart, 2**20)
    first, *others = later.chain.successions
    count = MAX_SUCCESSIONS_TEXT // len(codec.encode(first.header))
    proof = replace(first.finality, headers=(first.header,) * count)
    bundle = encode_bundle(
        true.receipt, opening, settled, state, [replace(first, finality=proof), *others]
    )
    assert bundle.successions == true.successions[1:]
    with pytest.raises(Rejected, match="a checkpoint of that epoch is needed") as refused:
        verify_bundle(bundle, trust(later, 0))
    assert refused.value.reason is Rejection.BAD_HEADER
    assert verify_bundle(bundle, trust(later, 1)).epoch == SETTLED_EPOCH


def test_finality_by_a_later_block_of_the_epoch_holds_and_of_another_does_not(
    later: SettledReceipt,
) -> None:
    chain, bundle = later.chain, read(later)
    part = codec.decode(decode_base64url(bundle.settlement), SettlementPart, 2**20)
    child = replace(
        part.header,
        height=part.header.height + 1,
        view=part.header.view + 4,
        parent_view=part.header.view,
        parent=compute_header_hash(part.header),
    )
    for tip, does_hold in (
        (child, True),
        (replace(child, parent=bytes(32)), False),
        (replace(child, epoch=SETTLED_EPOCH + 1), False),
        (replace(child, view=part.header.view), False),
    ):
        proof = chain.prove_final(part.header, tip)
        text = encode_base64url(codec.encode(replace(part, finality=proof)))
        changed = replace(bundle, settlement=text)
        if does_hold:
            assert verify_bundle(changed, trust(later, 0)).height == part.header.height
            continue
        with pytest.raises(Rejected):
            verify_bundle(changed, trust(later, 0))


def test_a_file_of_before_there_were_epochs_still_verifies(
    settled: SettledReceipt,
) -> None:
    document = deepcopy(settled.bundle)
    assert not document.pop("successions")
    bundle = decode_bundle(msgspec.json.encode(document))
    assert verify_bundle(bundle, trust(settled, 0)).epoch == 0
