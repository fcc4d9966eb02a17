"""Authority sets followed from one to the next: what leads on, and what leads nowhere."""

import json

import msgspec
import pytest

from consensus.light_client import Succession, decode_succession, follow
from consensus.messages import FinalityProof
from ledger import codec
from ledger.ballots import VoteKind
from ledger.blocks import Block, compute_authorities_hash, compute_header_hash
from ledger.rejection import Rejected, Rejection
from tests.consensus.network import (
    make_ballot,
    make_block,
    make_certificate,
    make_committee,
    make_quorum,
)
from tests.consensus.vectors import PATH

replace = msgspec.structs.replace

SIZES = (1, 4, 3, 7, 100)
"""Of the sets of the epochs from 0 on."""
COMMITTEES = [make_committee(size, epoch) for epoch, size in enumerate(SIZES)]


def make_closing(epoch: int) -> Block:
    following = compute_authorities_hash(COMMITTEES[epoch + 1].authorities)
    view = 10 * epoch + 5
    return make_block(COMMITTEES[epoch], 7 * epoch + 3, view, next_authorities=following)


def make_succession(epoch: int, view: int | None = None) -> Succession:
    block, following = make_closing(epoch), COMMITTEES[epoch + 1].authorities
    ballot = make_ballot(
        VoteKind.FINALIZE, view or block.header.view, compute_header_hash(block.header), epoch
    )
    proof = FinalityProof((), make_quorum(ballot, SIZES[epoch]))
    return Succession(block.header, proof, following)


SUCCESSIONS = [make_succession(epoch) for epoch in range(len(SIZES) - 1)]


def test_each_set_leads_to_the_next() -> None:
    for start in range(len(SIZES)):
        for end in range(start, len(SIZES)):
            reached = follow(COMMITTEES[start], SUCCESSIONS[start:end])
            assert reached.authorities == COMMITTEES[end].authorities
            assert reached.chain_id == COMMITTEES[0].chain_id


def test_a_closing_block_that_was_proposed_again_leads_on() -> None:
    assert follow(COMMITTEES[1], [make_succession(1, view=99)]).epoch == 2


def test_a_succession_reads_back_from_its_bytes() -> None:
    for succession in SUCCESSIONS:
        assert decode_succession(codec.encode(succession)) == succession
    with pytest.raises(Rejected):
        decode_succession(codec.encode(SUCCESSIONS[0]) + b"\x00")


def test_the_frozen_succession_leads_on() -> None:
    """By the quorum of epoch 2, which proposed its last block again in a later view."""
    frozen = decode_succession(bytes.fromhex(json.loads(PATH.read_text())["succession"]))
    assert follow(make_committee(4, epoch=2), [frozen]) == make_committee(5, epoch=3)


def refuse(start: int, *successions: Succession) -> Rejection:
    with pytest.raises(Rejected) as refused:
        follow(COMMITTEES[start], successions)
    return refused.value.reason


def test_no_epoch_can_be_left_out_or_told_twice() -> None:
    first, second, third, _ = SUCCESSIONS
    assert refuse(0, first, third) is Rejection.BAD_HEADER
    assert refuse(0, second) is Rejection.BAD_HEADER
    assert refuse(0, first, first) is Rejection.BAD_HEADER
    assert refuse(0, second, first) is Rejection.BAD_HEADER
    assert refuse(2, second) is Rejection.BAD_HEADER


def test_nobody_names_a_set_but_the_one_before() -> None:
    """Each is refused alone: the set, the quorum, the block, the chain, the signers."""
    true = SUCCESSIONS[1]
    ballot = true.finality.certificate.ballot
    usurpers = make_committee(5, epoch=2).authorities
    usurped = replace(true.header, next_authorities=compute_authorities_hash(usurpers))
    members = true.following.members
    reordered = replace(true.following, members=(*members[1:], members[0]))
    few = FinalityProof((), make_certificate(ballot, (0, 1)))
    false: dict[str, Succession] = {
        "another set": replace(true, following=usurpers),
        "another order": replace(true, following=reordered),
        "a set of another epoch": replace(true, following=replace(true.following, epoch=3)),
        "a header that names another": Succession(usurped, true.finality, usurpers),
        "too few signers": replace(true, finality=few),
        "another's proof": replace(true, finality=SUCCESSIONS[0].finality),
        "another chain": replace(true, header=replace(true.header, chain_id=bytes(32))),
    }
    for name, succession in false.items():
        with pytest.raises(Rejected):
            follow(COMMITTEES[1], [succession])
            pytest.fail(name)


def test_a_block_that_closes_nothing_opens_nothing() -> None:
    block = make_block(COMMITTEES[1])
    ballot = make_ballot(VoteKind.FINALIZE, 1, compute_header_hash(block.header), 1)
    proof = FinalityProof((), make_quorum(ballot, 4))
    for following in (COMMITTEES[1].authorities, COMMITTEES[2].authorities):
        assert refuse(1, Succession(block.header, proof, following)) is Rejection.BAD_HEADER


def test_a_nullify_or_notarize_certificate_finalizes_nothing() -> None:
    header = SUCCESSIONS[1].header
    ballot = make_ballot(VoteKind.NOTARIZE, header.view, compute_header_hash(header), 1)
    proof = FinalityProof((), make_quorum(ballot, 4))
    assert refuse(1, replace(SUCCESSIONS[1], finality=proof)) is Rejection.BAD_CERTIFICATE
