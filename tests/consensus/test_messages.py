import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.messages import decode_message, encode_message
from ledger.ballots import VoteKind
from ledger.rejection import Rejected, Rejection
from tests.consensus.network import make_ballot, make_quorum, make_vote
from tests.consensus.vectors import PATH, compute_vectors


def test_vectors_are_unchanged() -> None:
    assert compute_vectors() == json.loads(PATH.read_text())


def test_messages_in_vectors_decode() -> None:
    vectors = json.loads(PATH.read_text())
    for name in ("notarize_vote", "nullify_certificate_of_4", "proposal", "certificate_request"):
        data = bytes.fromhex(vectors[name])
        assert encode_message(decode_message(data)) == data


def test_longer_encoding_is_refused() -> None:
    data = encode_message(make_vote(make_ballot(VoteKind.NULLIFY, 5), 0))
    # An array of one in its three-byte form.
    with pytest.raises(Rejected) as raised:
        decode_message(b"\xdc\x00\x01" + data[1:])
    assert raised.value.reason is Rejection.NOT_CANONICAL


def test_largest_certificate_fits() -> None:
    ballot = make_ballot(VoteKind.FINALIZE, 2**62, b"\xff" * 32, epoch=2**62)
    certificate = make_quorum(ballot, 100)
    assert len(certificate.signers) == 67
    assert decode_message(encode_message(certificate)) == certificate


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        message = decode_message(data)
    except Rejected:
        return
    assert encode_message(message) == data
